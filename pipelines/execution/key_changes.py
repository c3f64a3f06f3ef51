"""Which parts of a key changed since an earlier result, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SECTIONS = {
    "draw": "data.shapes",
    "collect_labeled": "data",
    "collect_unlabeled": "data",
    "finetune": "finetune",
    "distill": "compression",
    "export": "export",
    "latency": "latency",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "float_blocks": "sensitivity",
}
"""Stage -> the section of the config that its options come from."""
_ABSENT = object()
_LONG = 40  # characters of a value that are shown


def changes(old: Mapping[str, Any], new: Mapping[str, Any], feeds: Mapping[str, str]) -> list[str]:
    """What differs between the parts of two keys of one stage (see ``Node.key``), most telling first.

    Args:
        feeds: name of an input, as in the key -> who makes it.
    """
    stage = str(new["stage"])
    found: list[str] = []
    if old.get("version") != new["version"]:
        found.append(f"the stage itself changed (version {old.get('version')} -> {new['version']})")
    for path, before, after in _differences(old.get("options", {}), new["options"]):
        found.append(_option(stage, path, before, after, new["options"]))
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


def _option(stage: str, path: str, before: Any, after: Any, options: Mapping[str, Any]) -> str:
    if path == "listing":
        return "the images or labels on disk changed"
    if path == "sample":
        key = "compression.images"
    elif path.startswith("model."):
        key = path
    elif stage == "build":
        key = f"backend.{options.get('backend')}.{path.removeprefix('options.')}"
    elif stage == "float_blocks" and path in ("max_map_drop", "min_speedup"):
        key = f"compression.{path}"
    elif stage in ("float_blocks", "sensitivity") and path.startswith("options."):
        key = f"backend.{options.get('backend')}.{path.removeprefix('options.')}"
    elif stage in ("latency", "float_blocks", "sensitivity") and path.startswith("nms."):
        key = f"accuracy.{path}"
    else:
        key = f"{_SECTIONS[stage]}.{path}" if stage in _SECTIONS else path
    return f"{key} {_shown(before)} -> {_shown(after)}"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "(none)"
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _LONG else text[: _LONG - 3] + "..."
