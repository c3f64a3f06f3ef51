"""The thresholds of the NMS that an exported model ends with, read from its program file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.errors import WeightsError
from stages.outside import files
from stages.programs import pir, wire

KINDS = ("multiclass_nms", "multiclass_nms2", "multiclass_nms3")
KEYS = ("score_threshold", "nms_threshold", "nms_top_k", "keep_top_k")


def stated_nms(program: Path) -> dict[str, float] | None:
    """Threshold -> value, of the names in ``KEYS``; ``None`` if the model ends before NMS.

    Raises:
        WeightsError: the file is damaged.
    """
    for kind, attributes in _operators(program):
        if kind in KINDS:
            found = {key: attributes[key] for key in KEYS if isinstance(attributes.get(key), (int, float))}
            return {key: round(float(value), 6) for key, value in found.items()}  # they are stored as 32-bit floats
    return None


def _operators(program: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Kind and attributes of each operator, as far as NMS needs them."""
    if program.suffix == ".json":
        for operator in pir.read_program(program):
            yield operator.kind, dict(operator.attributes)
        return
    try:
        for block in _messages(files.read_bytes(program), 1):
            for operation in _messages(block, 4):
                kind = b"".join(_messages(operation, 3)).decode(errors="replace")
                yield kind, dict(_attribute(a) for a in _messages(operation, 4)) if kind in KINDS else {}
    except OSError as error:
        raise WeightsError(f"{program} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise WeightsError(f"{program} is no program of Paddle ({error}); copy the export again") from error


def _messages(message: bytes, number: int) -> Iterator[bytes]:
    """The nested messages (or texts) that stand in field ``number``."""
    for found, value in wire.fields(message):
        if found == number and isinstance(value, bytes):
            yield value


def _attribute(message: bytes) -> tuple[str, Any]:
    """Name and number of an attribute: whole (field 3), 64-bit (13) or floating (4)."""
    name = ""
    number: float | None = None
    for field, value in wire.fields(message):
        if field == 1 and isinstance(value, bytes):
            name = value.decode(errors="replace")
        elif field in (3, 13) and isinstance(value, int):
            number = wire.signed(value)
        elif field == 4 and isinstance(value, float):
            number = value
    return name, number
