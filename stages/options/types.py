"""The types of options: resolved, in words, and held against a value."""

from __future__ import annotations

import dataclasses
import functools
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any, Union

_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Any: "any value"}
_NUMBERS = {int: numbers.Integral, float: numbers.Real}


@functools.cache
def field_types(cls: type) -> dict[str, Any]:
    """Field name -> resolved type."""
    hints = typing.get_type_hints(cls)
    return {f.name: hints[f.name] for f in dataclasses.fields(cls)}  # type: ignore[arg-type]


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union; of any other type, the type itself."""
    is_union = typing.get_origin(kind) is Union or isinstance(kind, types.UnionType)
    return typing.get_args(kind) if is_union else (kind,)


def described(kind: Any) -> str:
    """A type in the words of an error message."""
    members = alternatives(kind)
    if len(members) > 1:
        return " or ".join("null" if a is type(None) else described(a) for a in members)
    origin = typing.get_origin(kind)
    if origin is list:
        return f"a list of {described(typing.get_args(kind)[0]).split(' ', 1)[1]}s"
    if origin is dict or dataclasses.is_dataclass(kind):
        return "a section of keys"
    return _NAMES.get(kind, str(kind))


def fits(value: Any, kind: Any) -> bool:
    """Whether ``value`` is of the type ``kind``; whole numbers are numbers, true and false are not."""
    members = alternatives(kind)
    if len(members) > 1:
        return any(fits(value, member) for member in members)
    origin = typing.get_origin(kind)
    if kind is Any:
        return True
    if origin is list:
        return isinstance(value, (list, tuple)) and all(fits(item, typing.get_args(kind)[0]) for item in value)
    if origin is dict:
        return isinstance(value, Mapping)
    if kind in _NUMBERS:
        return isinstance(value, _NUMBERS[kind]) and not isinstance(value, bool)
    return isinstance(value, kind)
