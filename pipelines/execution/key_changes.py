"""Which parts of a key changed since an earlier result, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ABSENT = object()
_LONG = 40  # characters of a value that are shown


def changes(
    old: Mapping[str, Any], new: Mapping[str, Any], feeds: Mapping[str, str], origins: Mapping[str, str]
) -> list[str]:
    """What differs between the parts of two keys of one stage (see ``Node.key``), most telling first.

    Args:
        feeds: name of an input, as in the key -> who makes it.
        origins: name of an option -> the key of the config that it comes from today, whoever made the old result.
    """
    found: list[str] = []
    if old.get("version") != new["version"]:
        found.append(f"the stage itself changed (version {old.get('version')} -> {new['version']})")
    for path, before, after in _differences(old.get("options", {}), new["options"]):
        found.append(_option(path, before, after, origins))
    if old.get("seed") != new.get("seed"):
        found.append(f"seed {_shown(old.get('seed', _ABSENT))} -> {_shown(new.get('seed', _ABSENT))}")
    for path, before, after in _differences(old.get("fingerprint", {}), new["fingerprint"]):
        found.append(f"{path} {_shown(before)} -> {_shown(after)}")
    changed = [path for path, _, _ in _differences(old.get("inputs", {}), new["inputs"])]
    found += [f"{maker} is another" for maker in dict.fromkeys(feeds.get(name, name) for name in changed)]
    return found


def distance(old: Mapping[str, Any], new: Mapping[str, Any]) -> int:
    """How many parts differ: the entry with the fewest is the one to compare with."""
    names = ("options", "inputs", "fingerprint")
    parts = sum(len(_differences(old.get(name, {}), new.get(name, {}))) for name in names)
    return parts + len([name for name in ("version", "seed") if old.get(name) != new.get(name)])


def _differences(old: Any, new: Any, prefix: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        found: list[tuple[str, Any, Any]] = []
        for name in [*new, *(n for n in old if n not in new)]:
            found += _differences(old.get(name, _ABSENT), new.get(name, _ABSENT), f"{prefix}{name}.")
        return found
    return [] if old == new else [(prefix.removesuffix("."), old, new)]


def _option(path: str, before: Any, after: Any, origins: Mapping[str, str]) -> str:
    if path == "listing":
        return "the images or labels on disk changed"
    name, _, inside = path.partition(".")
    # What has no origin, or is no option any more, is called as the stage calls it.
    if after is not _ABSENT and name in origins:
        path = f"{origins[name]}.{inside}" if inside else origins[name]
    return f"{path} {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(none)"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."
