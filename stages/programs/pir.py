"""Paddle 3's program file (``inference.json``): its operators in their order, checked, without Paddle.

The file is a tree of regions, blocks and operators; a detector has one block. An operator names its kind (``#``), the
numbers of its inputs (``I``), its outputs with their types (``O``), and its attributes (``A``). Kinds have a number for
their dialect in front: ``0.`` builtin, ``1.`` an operator, ``2.`` control flow. A parameter is a short form, ``p``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.errors import WeightsError
from stages.outside import files

PARAMETER = "p"
NEWEST = 4
"""Version of the format that this module was written for; older ones are the same as far as it reads them."""
_TYPES = {
    "bool": "bool", "i8": "int8", "ui8": "uint8", "i16": "int16", "i32": "int32", "i64": "int64",
    "f16": "float16", "f32": "float32", "f64": "float64",
}  # fmt: skip
_LARGEST_FILE = 256 << 20
_LARGEST_SIDE = 1 << 31
_NOT_FINITE = {"NaN": math.nan, "INF": math.inf, "-INF": -math.inf}


@dataclass(frozen=True)
class Value:
    """What an operator computes: a tensor, or several in a list (``parts``)."""

    number: int
    dtype: str = ""
    shape: tuple[int, ...] = ()
    """-1 stands for an open dimension."""
    parts: tuple[Value, ...] | None = None


@dataclass(frozen=True)
class Operator:
    """One operator; a parameter is one of the kind ``p`` with the attribute ``name``."""

    kind: str
    """Without the dialect: ``conv2d``; ``builtin.split`` for those of dialect 0."""
    inputs: tuple[int, ...]
    """Numbers of values; 0 for an optional input that is not given."""
    outputs: tuple[Value, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class _Malformed(Exception):
    """Something in the tree is not what it has to be."""


def read_program(path: Path) -> list[Operator]:
    """The operators of the file; each uses only what an operator before it computes.

    Raises:
        WeightsError: the file is damaged, no program of Paddle 3, or newer than what this module knows.
    """
    try:
        content = json.loads(files.read_text(path, most=_LARGEST_FILE))
        base = _get(content, "base_code", dict)
        if base.get("magic") != "pir":
            raise _Malformed("its base_code does not say that it is one")
        version = _get(base, "version", int)
        regions = _get(_get(content, "program", dict), "regions", list)
        blocks = _get(_single(regions, "region"), "blocks", list)
        operators = _checked([_operator(o) for o in _get(_single(blocks, "block"), "ops", list)])
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (_Malformed, ValueError, RecursionError) as error:  # ValueError: no JSON, no UTF-8
        text = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise WeightsError(f"{path} is no program of Paddle 3 ({text}); copy the export again") from error
    if version > NEWEST:
        raise WeightsError(
            f"{path} has version {version} of Paddle's format, this detpress knows it up to {NEWEST}; export the model "
            "with Paddle 3.3 or older, or take a newer detpress"
        )
    return operators


def _get(tree: Any, key: str, kind: type) -> Any:
    """``tree[key]``, which has to be of this kind."""
    if not isinstance(tree, dict):
        raise _Malformed(f"{_short(tree)} stands where an object with {key!r} belongs")
    value = tree.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _Malformed(f"{key!r} is {_short(value)} where a {kind.__name__} belongs")
    return value


def _single(items: list[Any], what: str) -> Any:
    if len(items) != 1:
        raise _Malformed(f"it has {len(items)} {what}s where one belongs")
    return items[0]


def _short(value: Any) -> str:
    text = repr(value)
    return "missing" if value is None else text if len(text) <= 40 else text[:37] + "..."


def _operator(tree: Any) -> Operator:
    kind = _get(tree, "#", str)
    if kind == PARAMETER:
        values = _get(tree, "A", list)
        if len(values) < 4 or not isinstance(values[3], str):
            raise _Malformed(f"a parameter without a name: {_short(values)}")
        return Operator(kind, (), (_value(_get(tree, "O", dict)),), {"name": values[3]})
    dialect, _, name = kind.partition(".")
    if not name:
        raise _Malformed(f"{_short(kind)} stands where the kind of an operator belongs")
    if "regions" in tree:
        name = f"{name} (which has operators inside)"
    inputs = tuple(_get(i, "%", int) for i in _get(tree, "I", list))
    outputs = tuple(_value(o) for o in _get(tree, "O", list))
    attributes = {_get(a, "N", str): _attribute(_get(a, "AT", dict)) for a in _get(tree, "A", list)}
    return Operator(
        name if dialect == "1" else f"{_DIALECTS.get(dialect, dialect)}.{name}", inputs, outputs, attributes
    )


_DIALECTS = {"0": "builtin", "2": "cf", "3": "custom", "4": "dist"}


def _value(tree: Any) -> Value:
    return _typed(_get(tree, "%", int), _get(tree, "TT", dict))


def _typed(number: int, tree: Any) -> Value:
    kind = _get(tree, "#", str)
    if kind.endswith(".t_dtensor"):
        data = _get(tree, "D", list)
        shape = data[1] if len(data) > 1 else None
        if not isinstance(shape, list) or not all(isinstance(v, int) and -1 <= v < _LARGEST_SIDE for v in shape):
            raise _Malformed(f"a value has the shape {_short(shape)}")
        dtype = _get(data[0], "#", str).rpartition(".t_")[2]
        return Value(number, _TYPES.get(dtype, dtype), tuple(shape))
    if kind.endswith(".t_vec"):
        return Value(number, parts=tuple(_typed(0, part) for part in _get(tree, "D", list)))
    return Value(number, kind)  # an optional output that is not there, or something that no rule takes


def _attribute(tree: Any) -> Any:
    """The value of an attribute: numbers, texts, truth values, and lists of them."""
    kind = _get(tree, "#", str)
    if "VD" in tree:
        return _NOT_FINITE.get(str(tree["VD"]), math.nan)
    data = tree.get("D")
    if kind.endswith(".a_array"):
        return [_attribute(part) for part in _get(tree, "D", list)]
    if kind.endswith(".a_scalar"):
        if not isinstance(data, list) or len(data) != 2:
            raise _Malformed(f"{_short(data)} stands where a type and a number belong")
        return data[1]
    return data


def _checked(operators: list[Operator]) -> list[Operator]:
    """The same, if every value is computed once, and before it is used."""
    known = {0}
    for operator in operators:
        for number in operator.inputs:
            if number not in known:
                raise _Malformed(f"{operator.kind} uses value {number}, which nothing before it computes")
        for value in operator.outputs:
            if value.number in known and value.number:
                raise _Malformed(f"value {value.number} is computed twice")
            known.add(value.number)
    return operators
