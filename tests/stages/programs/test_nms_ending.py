"""A program gets NMS at its end by way of its bytes; what Paddle makes of it: tests/stages/backends/test_inside.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import StageError
from stages.options.accuracy import NmsOptions
from stages.programs import wire
from stages.programs.nms import stated_nms
from stages.programs.nms_ending import COUNTS, FOUND, with_nms


def operator(kind: str, inputs: dict[str, str], column: int | None = None) -> bytes:
    slots = [
        wire.field(1, wire.field(1, slot.encode()) + wire.field(2, name.encode())) for slot, name in inputs.items()
    ]
    own = wire.field(3, kind.encode())
    if column is not None:
        own += wire.field(4, wire.field(1, b"col") + wire.field(2, 0) + wire.field(3, column))
    return b"".join(slots) + own


def program(*operators: bytes, variables: tuple[str, ...] = ()) -> bytes:
    named = b"".join(wire.field(3, wire.field(1, name.encode())) for name in variables)
    block = wire.field(1, 0) + wire.field(2, -1) + named + b"".join(wire.field(4, each) for each in operators)
    return wire.field(1, block) + wire.field(4, wire.field(1, 0))


# Whoever fetches the scores may stand first: the column says which output it is.
WHOLE = program(
    operator("conv2d", {"Input": "image"}),
    operator("fetch", {"X": "p"}, 1),
    operator("fetch", {"X": "b"}, 0),
)


def operators(content: bytes) -> list[dict[int, list[bytes]]]:
    ((_, block),) = [each for each in wire.fields(content) if each[0] == 1]
    assert isinstance(block, bytes)
    found = []
    for number, value in wire.fields(block):
        if number == 4 and isinstance(value, bytes):
            own: dict[int, list[bytes]] = {}
            for field, part in wire.fields(value):
                assert isinstance(part, bytes)
                own.setdefault(field, []).append(part)
            found.append(own)
    return found


def argument(slot: bytes) -> tuple[str, str]:
    parameter, name = (value.decode() for _, value in wire.fields(slot) if isinstance(value, bytes))
    return parameter, name


def test_nms_stands_before_what_fetches_its_outputs(tmp_path: Path) -> None:
    nms = NmsOptions(score_threshold=0.05, nms_threshold=0.6, nms_top_k=500, keep_top_k=100)
    made = operators(with_nms(WHOLE, nms))
    assert [own[3][0] for own in made] == [b"conv2d", b"multiclass_nms3", b"fetch", b"fetch"]
    assert dict(map(argument, made[1][1])) == {"BBoxes": "b", "Scores": "p"}
    assert dict(map(argument, made[1][2])) == {"Out": FOUND, "Index": "bbox_index", "NmsRoisNum": COUNTS}
    assert [argument(own[1][0]) for own in made[2:]] == [("X", COUNTS), ("X", FOUND)]
    file = tmp_path / "model.pdmodel"
    file.write_bytes(with_nms(WHOLE, nms))
    assert stated_nms(file) == {"score_threshold": 0.05, "nms_threshold": 0.6, "nms_top_k": 500, "keep_top_k": 100}


def test_what_has_not_two_outputs_is_refused() -> None:
    with pytest.raises(StageError, match="it has 1 outputs"):
        with_nms(program(operator("fetch", {"X": "b"}, 0)), NmsOptions())
    with pytest.raises(StageError, match="a variable bbox already"):
        fetches = [operator("fetch", {"X": name}, i) for i, name in enumerate("bp")]
        with_nms(program(*fetches, variables=("bbox",)), NmsOptions())
    with pytest.raises(StageError, match="comes from nowhere"):
        with_nms(program(operator("fetch", {}, 0), operator("fetch", {"X": "p"}, 1)), NmsOptions())
    for content in (b"", b"paddle", WHOLE[: len(WHOLE) // 2]):
        with pytest.raises(StageError, match="cannot be given NMS"):
            with_nms(content, NmsOptions())
