"""Compare a composed but unchecked config with the dataclasses: unknown keys and wrong types, all of them at once."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.config.quoting import escaped
from stages.options.check import Problem
from stages.options.suggest import close_to, suggestion
from stages.options.types import described, field_types

__all__ = ["Problem", "close_to", "compare", "leaf_paths", "suggestion", "unknown_key"]


def leaf_paths(cls: type, prefix: str = "") -> Iterator[str]:
    """The dotted keys of a dataclass and of the dataclasses inside it."""
    for name, kind in field_types(cls).items():
        yield f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            yield from leaf_paths(typing.cast(type, kind), f"{prefix}{name}.")


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
        # No value of a plain tree is an interpolation any more, whatever it looks like.
        merged = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(cls), escaped(values)), resolve=True)
    except (OmegaConfBaseException, ValueError, OverflowError):  # the last: a whole number beyond all floats
        return None
    return {name: merged[name] for name in values}  # type: ignore[call-overload,index]


def _leaves(key: str, value: Any) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [leaf for name, child in value.items() for leaf in _leaves(f"{key}.{name}", child)]
    return [key]
