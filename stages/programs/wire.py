"""Protobuf's wire format, as far as Paddle's files need it: https://protobuf.dev/programming-guides/encoding."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_LONGEST = 10  # bytes of a 64-bit varint
_FIXED = {1: "<q", 5: "<f"}  # 64-bit doubles are read as whole numbers; Paddle's attributes that matter are floats


def fields(message: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """(number, value) of each field; nested messages and strings are bytes.

    Raises:
        ValueError: the message is cut off or no protobuf.
    """
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        number, kind = tag >> 3, tag & 7
        value: int | float | bytes
        if kind == 0:
            value, at = varint(message, at)
        elif kind == 2:
            length, at = varint(message, at)
            if length > len(message) - at:
                raise ValueError(f"a field of {length} bytes goes beyond the end")
            value, at = message[at : at + length], at + length
        elif kind in _FIXED:
            size = struct.calcsize(_FIXED[kind])
            if size > len(message) - at:
                raise ValueError("the last field is cut off")
            (value,) = struct.unpack_from(_FIXED[kind], message, at)
            at += size
        else:
            raise ValueError(f"a field of kind {kind}, which no protobuf has")
        yield number, value


def varint(message: bytes, at: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte, and where the next one begins."""
    value = 0
    for i in range(_LONGEST):
        if at + i >= len(message):
            raise ValueError("the last number is cut off")
        value |= (message[at + i] & 127) << (7 * i)
        if message[at + i] < 128:
            return value, at + i + 1
    raise ValueError("a number of more than 64 bits")


def varints(message: bytes) -> list[int]:
    """The numbers of a packed field."""
    found, at = list[int](), 0
    while at < len(message):
        value, at = varint(message, at)
        found.append(value)
    return found


def signed(value: int) -> int:
    """A varint as a signed 64-bit number."""
    return value - (1 << 64) if value >> 63 else value


def field(number: int, value: int | float | bytes) -> bytes:
    """A field as it is written: whole numbers as varints (negative ones in 64 bits), others as 32-bit floats."""
    if isinstance(value, bytes):
        return _tag(number, 2) + _varint(len(value)) + value
    if isinstance(value, float):
        return _tag(number, 5) + struct.pack("<f", value)
    return _tag(number, 0) + _varint(value & ((1 << 64) - 1))


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
