"""The parameters' file of an exported model (``.pdiparams``): tensor after tensor, in the order of their sorted names.

Of each tensor, all numbers little-endian: a version (uint32, 0); the number of levels of detail (uint64) and each of
them with its length (uint64); a version again (uint32, 0); the length of a description (int32) and the description, a
protobuf message with the type (field 1) and the dimensions (field 2); then the values, row by row.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.errors import WeightsError
from stages.outside import files
from stages.programs import wire

TYPES = {
    0: "bool",
    1: "int16",
    2: "int32",
    3: "int64",
    4: "float16",
    5: "float32",
    6: "float64",
    20: "uint8",
    21: "int8",
}
"""Paddle's numbers of types -> numpy's names."""
_MOST_DIMENSIONS = 9
_LARGEST = 64 << 30  # bytes


def read_parameters(path: Path) -> list[npt.NDArray[Any]]:
    """The tensors of the file, in its order; they share the memory of its bytes.

    Raises:
        WeightsError: the file is cut off or something else.
    """
    try:
        return list(_tensors(files.read_bytes(path, _LARGEST)))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror}); check the path") from error
    except (struct.error, ValueError) as error:
        raise WeightsError(
            f"{path} cannot be read as parameters ({error}): it is cut off or something else. Copy the export again."
        ) from error


def _tensors(data: bytes) -> Iterator[npt.NDArray[Any]]:
    at = 0
    while at < len(data):
        version, levels = struct.unpack_from("<IQ", data, at)
        at += 12
        if version or levels > _MOST_DIMENSIONS:
            raise ValueError(f"no tensor begins at byte {at - 12}")
        for _ in range(levels):
            (length,) = struct.unpack_from("<Q", data, at)
            at += 8 + length
        version, length = struct.unpack_from("<Ii", data, at)
        at += 8
        if version or not 0 <= length <= len(data) - at:
            raise ValueError(f"no description of a tensor at byte {at}")
        dtype, shape = _description(data[at : at + length])
        at += length
        count = math.prod(shape)
        if count * dtype.itemsize > len(data) - at:
            raise ValueError(f"a tensor {list(shape)} of {dtype} goes beyond the end, byte {len(data)}")
        yield np.frombuffer(data, dtype, count, at).reshape(shape)
        at += count * dtype.itemsize


def _description(message: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    kind, shape = -1, list[int]()
    for number, value in wire.fields(message):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 2 and isinstance(value, int):
            shape.append(value)
        elif number == 2 and isinstance(value, bytes):
            shape += wire.varints(value)
    if kind not in TYPES:
        raise ValueError(f"a tensor of type {kind}, which is not known")
    if len(shape) > _MOST_DIMENSIONS or any(not 0 <= side < 1 << 40 for side in shape):
        raise ValueError(f"a tensor of shape {shape[:_MOST_DIMENSIONS]}")
    return np.dtype(TYPES[kind]), tuple(shape)
