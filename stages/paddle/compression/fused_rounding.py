"""Quantizer and dequantizer of the training program as one operator: one pass less over the data.

PaddleSlim writes a rounding as two operators, so that the integers can be exported. Nobody reads the integers while
training, and the pairs are a third of a step's time. Gradients pass them by either way.

One number differs: what lies below the range becomes -127 steps here, -128 there and in an engine. Outputs of SiLU,
which most convolutions read, do not go there.
"""

from __future__ import annotations

from typing import Any

import paddle

_ACTIVATION = "fake_quantize_dequantize_moving_average_abs_max"
_WEIGHT = "fake_channel_wise_quantize_dequantize_abs_max"
_MOVING_RATE = 0.9  # of ``quantize_linear``, whose operator has no attribute for it


def fuse_roundings(train: Any) -> Any:
    """``train`` with each pair replaced, but for kinds of quantizers that have no such operator."""
    # On the description: Python's view of a program takes seconds to follow so many changes.
    copy = train.clone()
    block = copy.desc.block(0)
    persistable = {var.name for var in train.list_vars() if var.persistable}
    ops = [block.op(i) for i in range(block.op_size())]
    readers: dict[str, list[int]] = {}
    for place, op in enumerate(ops):
        for name in op.input_arg_names():
            readers.setdefault(name, []).append(place)
    pairs: dict[int, int] = {}
    for place, op in enumerate(ops):
        if op.type() == "quantize_linear":
            after = readers.get(op.output("Y")[0], [])
            known = (0, 1) if op.input("X")[0] in persistable else (-1,)
            if len(after) == 1 and ops[after[0]].type() == "dequantize_linear" and op.attr("quant_axis") in known:
                pairs[place] = after[0]
    made = {first: _description(ops[first], ops[second], persistable) for first, second in pairs.items()}
    seconds = set(pairs.values())
    for place in reversed(range(len(ops))):  # from behind, so that the places before stay what they are
        if place in seconds or place in made:
            block._remove_op(place, place + 1)
        if place in made:
            _write(block._insert_op(place), *made[place])
    return paddle.static.Program.parse_from_string(copy.desc.serialize_to_string())


Description = tuple[str, dict[str, list[str]], dict[str, list[str]], dict[str, Any]]


def _description(quantize: Any, dequantize: Any, persistable: set[str]) -> Description:
    """Type, inputs, outputs and attributes of the operator that stands for the pair."""
    attributes = {"bit_length": quantize.attr("bit_length"), "op_role": quantize.attr("op_role")}
    inputs = {"X": quantize.input("X")}
    outputs = {"Out": dequantize.output("Y"), "OutScale": quantize.output("OutScale")}
    if inputs["X"][0] in persistable:
        return _WEIGHT, inputs, outputs, {**attributes, "quant_axis": quantize.attr("quant_axis")}
    inputs |= {"InScale": quantize.input("Scale")}
    inputs |= {"InAccum": quantize.input("InAccum"), "InState": quantize.input("InState")}
    outputs |= {"OutAccum": quantize.output("OutAccum"), "OutState": quantize.output("OutState")}
    attributes |= {"is_test": quantize.attr("is_test"), "moving_rate": _MOVING_RATE}
    return _ACTIVATION, inputs, outputs, attributes


def _write(
    op: Any, kind: str, inputs: dict[str, list[str]], outputs: dict[str, list[str]], attributes: dict[str, Any]
) -> None:
    op.set_type(kind)
    for name, names in inputs.items():
        op.set_input(name, names)
    for name, names in outputs.items():
        op.set_output(name, names)
    for name, value in attributes.items():
        op._set_attr(name, value)
    op.check_attrs()
