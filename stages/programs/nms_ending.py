"""NMS at the end of a Paddle program, as PaddleDetection exports it: its deploy scripts and FastDeploy expect it there.

The program is edited as the protobuf that it is, without Paddle: `paddle/fluid/framework/framework.proto` names the
fields. Parameters stay as they are, since NMS has none.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.errors import StageError
from stages.options.accuracy import NmsOptions
from stages.programs import wire

KIND = "multiclass_nms3"
FOUND, COUNTS = "bbox", "bbox_num"
"""Outputs: float32 [found, 6] as (class, score, x1, y1, x2, y2), the images one after another; int32 [batch]."""
_INDEX = "bbox_index"
_BLOCKS, _VARIABLES, _OPERATORS = 1, 3, 4  # fields of ProgramDesc and BlockDesc
_INPUTS, _OUTPUTS, _KIND, _ATTRIBUTES = 1, 2, 3, 4  # of OpDesc
_INT, _FLOAT, _BOOL = 0, 1, 6  # of AttrType
_INT32, _FP32, _TENSOR = 2, 5, 7  # of VarType


def with_nms(program: bytes, nms: NmsOptions) -> bytes:
    """A ``.pdmodel`` with the outputs ``FOUND`` and ``COUNTS`` in place of boxes [B, N, 4] and scores [B, C, N].

    Raises:
        StageError: it is damaged, or has not these two outputs.
    """
    try:
        fields = list(wire.fields(program))
        first = next(i for i, (number, _) in enumerate(fields) if number == _BLOCKS)
        block = _ending(list(wire.fields(_bytes(fields[first][1]))), nms)
    except (ValueError, StopIteration) as error:
        reason = str(error) or "it is empty"
        raise StageError(f"the program cannot be given NMS ({reason}); export the model again") from error
    fields[first] = (_BLOCKS, block)
    return _joined(fields)


def _ending(fields: list[tuple[int, int | float | bytes]], nms: NmsOptions) -> bytes:
    """The main block: NMS before what fetches the outputs, which then fetches those of NMS."""
    fetches = {}
    for i, (number, value) in enumerate(fields):
        if number == _OPERATORS and _kind(_bytes(value)) == "fetch":
            fetches[_column(_bytes(value))] = i
    if sorted(fetches) != [0, 1]:
        raise ValueError(f"it has {len(fetches)} outputs, not boxes and scores")
    boxes, scores = (_argument(_bytes(fields[fetches[column]][1])) for column in (0, 1))
    for column, name in ((0, FOUND), (1, COUNTS)):
        own = [(n, v) for n, v in wire.fields(_bytes(fields[fetches[column]][1])) if n != _INPUTS]
        fields[fetches[column]] = (_OPERATORS, _slot(_INPUTS, "X", name) + _joined(own))
    taken = {_name(_bytes(value)) for number, value in fields if number == _VARIABLES}
    if clash := taken & {FOUND, COUNTS, _INDEX}:
        raise ValueError(f"it has a variable {sorted(clash)[0]} already")
    variables = [(_VARIABLES, _variable(*each)) for each in ((FOUND, _FP32, [-1, 6]), (_INDEX, _INT32, [-1, 1]),
                                                             (COUNTS, _INT32, [-1]))]  # fmt: skip
    at = min(fetches.values())
    return _joined([*variables, *fields[:at], (_OPERATORS, _operator(boxes, scores, nms)), *fields[at:]])


def _operator(boxes: str, scores: str, nms: NmsOptions) -> bytes:
    inputs = _slot(_INPUTS, "BBoxes", boxes) + _slot(_INPUTS, "Scores", scores)
    outputs = _slot(_OUTPUTS, "Out", FOUND) + _slot(_OUTPUTS, "Index", _INDEX) + _slot(_OUTPUTS, "NmsRoisNum", COUNTS)
    attributes = {
        "background_label": (_INT, 3, -1),
        "score_threshold": (_FLOAT, 4, float(nms.score_threshold)),
        "nms_top_k": (_INT, 3, nms.nms_top_k),
        "keep_top_k": (_INT, 3, nms.keep_top_k),
        "nms_threshold": (_FLOAT, 4, float(nms.nms_threshold)),
        "nms_eta": (_FLOAT, 4, 1.0),
        "normalized": (_BOOL, 10, 1),  # a box's width is x2 - x1
    }
    written = [
        wire.field(_ATTRIBUTES, wire.field(1, name.encode()) + wire.field(2, kind) + wire.field(number, value))
        for name, (kind, number, value) in attributes.items()
    ]
    return inputs + outputs + wire.field(_KIND, KIND.encode()) + b"".join(written)


def _variable(name: str, dtype: int, shape: Sequence[int]) -> bytes:
    tensor = wire.field(1, dtype) + b"".join(wire.field(2, side) for side in shape)
    kind = wire.field(1, _TENSOR) + wire.field(3, wire.field(1, tensor))
    return wire.field(1, name.encode()) + wire.field(2, kind)


def _slot(number: int, parameter: str, argument: str) -> bytes:
    """A named input or output of an operator, with the variable there."""
    return wire.field(number, wire.field(1, parameter.encode()) + wire.field(2, argument.encode()))


def _joined(fields: Sequence[tuple[int, int | float | bytes]]) -> bytes:
    return b"".join(wire.field(number, value) for number, value in fields)


def _kind(operator: bytes) -> str:
    return next((_bytes(value).decode() for number, value in wire.fields(operator) if number == _KIND), "")


def _name(variable: bytes) -> str:
    return next((_bytes(value).decode() for number, value in wire.fields(variable) if number == 1), "")


def _column(fetch: bytes) -> int:
    """Which of the outputs an operator ``fetch`` gives."""
    for number, value in wire.fields(fetch):
        if number == _ATTRIBUTES:
            own = dict(wire.fields(_bytes(value)))
            if own.get(1) == b"col":
                return int(own.get(3, 0))
    return 0


def _argument(fetch: bytes) -> str:
    for number, value in wire.fields(fetch):
        if number == _INPUTS:
            return next(_bytes(name).decode() for n, name in wire.fields(_bytes(value)) if n == 2)
    raise ValueError("an output comes from nowhere")


def _bytes(value: int | float | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("a number stands where a message belongs")
    return value
