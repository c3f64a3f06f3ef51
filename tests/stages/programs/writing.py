"""Small exports written by hand, in both of Paddle's formats."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NUMBERS = {"bool": 0, "int16": 1, "int32": 2, "int64": 3, "float32": 5, "float64": 6, "uint8": 20, "int8": 21}
SHORT = {"float32": "f32", "int32": "i32", "int64": "i64", "bool": "bool", "float64": "f64"}


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def block(number: int, content: bytes) -> bytes:
    """A protobuf field of bytes."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def tensor(array: npt.NDArray[Any]) -> bytes:
    """A tensor as .pdiparams holds it."""
    return described(array.dtype.name, array.shape) + array.tobytes()


def described(dtype: str, shape: Iterable[int]) -> bytes:
    message = b"\x08" + varint(NUMBERS[dtype]) + b"".join(b"\x10" + varint(side) for side in shape)
    return struct.pack("<IQIi", 0, 0, 0, len(message)) + message


def pdmodel(*operators: tuple[str, Mapping[str, float]]) -> bytes:
    """A ProgramDesc of operators without variables; whole numbers are written as int32, others as float."""
    content = b""
    for kind, attributes in operators:
        own = block(3, kind.encode())
        for name, value in attributes.items():
            number = (
                b"\x18" + varint(value & (1 << 64) - 1)
                if isinstance(value, int)
                else b"\x25" + struct.pack("<f", value)
            )
            own += block(4, block(1, name.encode()) + b"\x10\x00" + number)
        content += block(4, own)
    return block(1, b"\x08\x00\x10\x00" + content)


def typed(dtype: str, shape: Sequence[int]) -> dict[str, Any]:
    return {"#": "0.t_dtensor", "D": [{"#": f"0.t_{SHORT[dtype]}"}, list(shape), "NCHW", [], 0]}


def attribute(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"#": "0.a_array", "D": [attribute(v) for v in value]}
    kinds = {bool: "a_bool", int: "a_i32", float: "a_f32", str: "a_str"}
    return {"#": f"0.{kinds[type(value)]}", "D": value}


def operator(
    kind: str, inputs: Sequence[int], outputs: Mapping[int, dict[str, Any]], attributes: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "#": kind,
        "A": [{"N": name, "AT": attribute(value)} for name, value in (attributes or {}).items()],
        "I": [{"%": number} for number in inputs],
        "O": [{"%": number, "TT": kind_} for number, kind_ in outputs.items()],
    }


def parameter(number: int, name: str, array: npt.NDArray[Any]) -> dict[str, Any]:
    return {"#": "p", "A": [0, 1, 1, name], "O": {"%": number, "TT": typed(array.dtype.name, array.shape)}}


def program(operators: Sequence[dict[str, Any]], version: int = 4) -> dict[str, Any]:
    blocks = [{"#": "block_0", "args": [], "ops": list(operators)}]
    return {
        "base_code": {"magic": "pir", "version": version, "trainable": True},
        "program": {"regions": [{"#": "region_0", "blocks": blocks}]},
    }


def write_export(
    folder: Path,
    operators: Sequence[dict[str, Any]],
    parameters: Mapping[str, npt.NDArray[Any]],
    stem: str = "inference",
) -> tuple[Path, Path]:
    """Program and parameters of Paddle 3; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / f"{stem}.json", folder / f"{stem}.pdiparams"
    paths[0].write_text(json.dumps(program(operators)))
    paths[1].write_bytes(b"".join(tensor(np.ascontiguousarray(parameters[name])) for name in sorted(parameters)))
    return paths
