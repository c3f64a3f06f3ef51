"""Compare a composed but unchecked config with the dataclasses: unknown keys and wrong types, all of them at once."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Union

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with one key."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def leaf_paths(cls: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a dataclass and of the dataclasses inside it."""
    for name, kind in field_types(cls).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            yield from leaf_paths(typing.cast(type, kind), f"{prefix}{name}.")


def field_types(cls: type) -> dict[str, Any]:
    """Field name -> resolved type."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}  # type: ignore[arg-type]


def described(kind: Any) -> str:
    """A type in the words of an error message."""
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin is Union or isinstance(kind, types.UnionType):
        return " or ".join("null" if a is type(None) else described(a) for a in arguments)
    if origin is list:
        return f"a list of {described(arguments[0]).split(' ', 1)[1]}s"
    if origin is dict or dataclasses.is_dataclass(kind):
        return "a section of keys"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}.get(kind, str(kind))


def close_to(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> list[str]:
    """The names nearest to ``word``, best first, at most three of equal rank."""
    low = word.lower()
    rated = [(_likeness(low, name.lower()), name) for name in set(known)]
    best = max((rate for rate, _ in rated), default=0.0)
    if best < cutoff:
        return []
    nearest = [name for rate, name in rated if rate > best - 1e-9]

    def distance(name: str) -> int:  # among equals, the letter next to the typed one comes first
        return sum(abs(ord(a) - ord(b)) for a, b in zip(word, name, strict=False))

    return sorted(nearest, key=lambda name: (distance(name), name))[:3]


def _likeness(word: str, name: str) -> float:
    """0 to 1; a word that the name begins with counts as near, however much is missing."""
    ratio = difflib.SequenceMatcher(None, word, name).ratio()
    return max(ratio, 0.8) if len(word) >= 3 and name.startswith(word) else ratio


def suggestion(names: Sequence[str]) -> str:
    """`` (did you mean a, b or c?)``, or nothing."""
    if not names:
        return ""
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"; did you mean {listed}?"


def unknown_key(key: str, known: Collection[str]) -> Problem:
    """The problem of a key that is not among the ``known`` ones, with those that may have been meant."""
    last = key.rsplit(".", 1)[-1]
    meant = [k for k in known if k.rsplit(".", 1)[-1] == last and k != last] if "." not in key else []
    return Problem(key, "there is no such key" + suggestion(meant[:3] or close_to(key, known, cutoff=0.7)))


def compare(
    tree: Mapping[str, Any], cls: type, *, prefix: str = "", known: Collection[str] | None = None
) -> tuple[dict[str, Any], list[Problem]]:
    """Check a plain tree against a dataclass.

    Args:
        tree: nested dicts without interpolations.
        cls: the dataclass that stands at ``prefix``.
        prefix: dotted key of the tree, ending with a dot.
        known: the keys that suggestions are drawn from; those of ``cls`` by default.

    Returns:
        The part of ``tree`` that fits, with values converted, and the problems of the rest.
    """
    known = list(leaf_paths(cls, prefix)) if known is None else known
    kinds = field_types(cls)
    good: dict[str, Any] = {}
    problems: list[Problem] = []
    plain: dict[str, Any] = {}
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if name not in kinds:
            problems += [unknown_key(k, known) for k in _leaves(key, value)]
        elif not dataclasses.is_dataclass(kinds[name]):
            plain[name] = value
        elif isinstance(value, Mapping):
            section = typing.cast(type, kinds[name])
            good[name], found = compare(value, section, prefix=f"{key}.", known=known)
            problems += found
        else:
            keys = ", ".join(field_types(typing.cast(type, kinds[name])))
            problems.append(Problem(key, f"{value!r} stands where a section belongs; its keys are {keys}"))
    fitting = _converted(cls, plain)
    if fitting is not None:
        return good | fitting, problems
    for name, value in plain.items():  # at least one does not fit: find out which
        fitting = _converted(cls, {name: value})
        if fitting is None:
            problems.append(Problem(f"{prefix}{name}", f"{value!r} does not fit; it must be {described(kinds[name])}"))
        else:
            good |= fitting
    return good, problems


def _converted(cls: type, values: Mapping[str, Any]) -> dict[str, Any] | None:
    """``values`` as OmegaConf turns them into the types of ``cls``; ``None`` if it refuses."""
    try:
        merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(cls), values))
    except (OmegaConfBaseException, ValueError):
        return None
    return {name: merged[name] for name in values}  # type: ignore[call-overload,index]


def _leaves(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [leaf for name, child in value.items() for leaf in _leaves(f"{key}.{name}", child)]
    return [key]
