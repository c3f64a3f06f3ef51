"""JSON that is read back, whoever may have written it meanwhile: of a bounded size, and of the shape that its reader
expects. What is wrong becomes one error that names the file and the field.

A shape is what type hints can say: a TypedDict, a dataclass, ``dict[str, X]``, ``list[X]``, ``X | None``, ``Any``,
``str``, ``int``, ``float``, ``bool``. Keys that a shape does not have are left alone; a dataclass takes none.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from stages.errors import DetpressError, InputError
from stages.outside import files
from stages.outside.names import shown

T = TypeVar("T")

MOST_BYTES = 64 << 20
_DEEPEST = 64
_LONGEST_TEXT = 1 << 20  # characters of one text
_LARGEST_INTEGER = 1 << 63
_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


def read(
    path: Path,
    shape: Any = dict[str, Any],
    *,
    raises: type[DetpressError] = InputError,
    lenient: bool = False,
    most: int = MOST_BYTES,
) -> Any:
    """The content of a JSON file.

    Args:
        shape: see above; by default any object.
        raises: the kind of the error.
        lenient: keys that a TypedDict asks for may be missing, as where another version wrote the file.
        most: bytes that the file may have.

    Raises:
        FileNotFoundError: there is none.
        DetpressError: of the kind ``raises``; it cannot be read, or its content does not fit.
    """
    try:
        content = files.read_bytes(path, most)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise raises(f"{path} cannot be read: {error.strerror}") from error
    return parse(content, path, shape, raises=raises, lenient=lenient, most=most)


def parse(
    text: str | bytes,
    file: object,
    shape: Any = dict[str, Any],
    *,
    raises: type[DetpressError] = InputError,
    lenient: bool = False,
    most: int = MOST_BYTES,
    finite: bool = False,
) -> Any:
    """JSON in a text, of the place ``file``; otherwise as `read`.

    Args:
        finite: NaN and infinities are refused.
    """
    try:
        if len(text) > most:
            raise _Wrong(f"it has more than {most} bytes")
        content = json.loads(text, parse_int=_integer)
        _limit(content, finite)
        conform(content, shape, lenient=lenient)
    except RecursionError as error:
        raise raises(f"{file} cannot be read: it is nested too deeply") from error
    except (ValueError, _Wrong) as error:
        raise raises(f"{file} cannot be read: {error}") from error
    return content


def conform(value: Any, shape: Any, *, where: str = "", lenient: bool = False) -> None:
    """Whether a parsed value has a shape.

    Raises:
        ValueError: names the field that has not.
    """
    origin, arguments = typing.get_origin(shape), typing.get_args(shape)
    if shape is Any or shape is object:
        return
    if origin in (typing.Union, types.UnionType):
        _one_of(value, arguments, where, lenient)
    elif origin is list:
        _require(isinstance(value, list), value, where, "a list")
        for number, item in enumerate(value):
            conform(item, arguments[0], where=f"{where}[{number}]", lenient=lenient)
    elif origin is dict or shape is dict:
        _require(isinstance(value, dict), value, where, "an object")
        for key, item in value.items() if arguments else ():
            conform(item, arguments[1], where=_under(where, key), lenient=lenient)
    elif dataclasses.is_dataclass(shape) or typing.is_typeddict(shape):
        _fields(value, shape, where, lenient)
    elif shape is type(None):
        _require(value is None, value, where, "null")
    elif shape is float:
        _require(isinstance(value, (int, float)) and not isinstance(value, bool), value, where, _NAMES[float])
    elif shape is int:
        _require(isinstance(value, int) and not isinstance(value, bool), value, where, _NAMES[int])
    elif shape is Path:
        _require(isinstance(value, (str, Path)), value, where, _NAMES[str])
    else:
        _require(isinstance(value, shape), value, where, _NAMES.get(shape, str(shape)))


def made(kind: type[T], content: Mapping[str, Any], file: object, *, raises: type[DetpressError] = InputError) -> T:
    """An instance of a dataclass from an object that was read.

    Raises:
        DetpressError: of the kind ``raises``; a field is missing, unknown, or of another type.
    """
    try:
        conform(dict(content), kind)
        return kind(**content)
    except (ValueError, TypeError) as error:
        raise raises(f"{file} cannot be read: {error}") from error


class _Wrong(Exception):
    """A limit that was passed."""


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(number := int(digits)) > _LARGEST_INTEGER:
        raise ValueError(f"the number {shown(digits)} is too large")
    return number


def _limit(content: Any, finite: bool) -> None:
    """Raise if something is nested too deeply, a text is too long, or a number is none; without recursion."""
    ahead = [(content, 1)]
    while ahead:
        value, depth = ahead.pop()
        if depth > _DEEPEST:
            raise _Wrong(f"it is nested more than {_DEEPEST} deep")
        if isinstance(value, str) and len(value) > _LONGEST_TEXT:
            raise _Wrong(f"a text has more than {_LONGEST_TEXT} characters")
        if finite and isinstance(value, float) and not math.isfinite(value):
            raise _Wrong(f"it has {value} in the place of a number")
        if isinstance(value, dict):
            ahead += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list):
            ahead += [(item, depth + 1) for item in value]


def _one_of(value: Any, shapes: tuple[Any, ...], where: str, lenient: bool) -> None:
    """One of the shapes has to fit; with a single one beside null, what is wrong is told as of that."""
    others = [shape for shape in shapes if shape is not type(None)]
    if value is None and len(others) < len(shapes):
        return
    for shape in others[:-1]:
        try:
            conform(value, shape, where=where, lenient=lenient)
        except ValueError:
            continue
        return
    conform(value, others[-1], where=where, lenient=lenient)


def _fields(value: Any, shape: Any, where: str, lenient: bool) -> None:
    _require(isinstance(value, dict), value, where, "an object")
    hints, needed, closed = _hints(shape)
    for name in needed if not lenient else ():
        if name not in value:
            raise ValueError(f"{_under(where, name)} is missing")
    for name, item in value.items():
        if name in hints:
            conform(item, hints[name], where=_under(where, name), lenient=lenient)
        elif closed:
            raise ValueError(f"{_under(where, name)} is not known; it was written by another version")


@functools.cache
def _hints(shape: Any) -> tuple[dict[str, Any], list[str], bool]:
    """Field -> its shape, the fields that have to be there, and whether there may be no other."""
    import typing_extensions  # the records' modules name it for type checkers only

    known = {"NotRequired": typing_extensions.NotRequired}
    hints = typing_extensions.get_type_hints(shape, localns=known, include_extras=True)
    if dataclasses.is_dataclass(shape):
        none = dataclasses.MISSING
        return (
            {f.name: hints[f.name] for f in dataclasses.fields(shape)},
            [f.name for f in dataclasses.fields(shape) if f.default is none and f.default_factory is none],
            True,
        )
    marked: Any = typing_extensions.NotRequired
    optional = {name for name, hint in hints.items() if typing.get_origin(hint) is marked}
    plain = {name: typing.get_args(hint)[0] if name in optional else hint for name, hint in hints.items()}
    # With postponed annotations, `__required_keys__` has the optional ones too.
    return plain, [name for name in hints if name in shape.__required_keys__ and name not in optional], False


def _require(fits: bool, value: Any, where: str, what: str) -> None:
    if not fits:
        raise ValueError(f"{where or 'it'} is {shown(value)} where {what} belongs")


def _under(where: str, key: object) -> str:
    name = str(key)
    name = name if len(name) <= 60 else f"{name[:50]}..."
    return f"{where}.{name}" if where else name
