"""Passes over a Paddle inference program, so that Paddle Inference fuses it: the counterpart of `stages/lowering`.

Each takes a loaded program, changes it in place and says what it did. The first two change no number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.errors import ConfigError
from stages.paddle.runtime.program import Program

Array = npt.NDArray[Any]
Report = dict[str, Any]
QUANTIZE, DEQUANTIZE = "quantize_linear", "dequantize_linear"


def fold_bias(program: Program) -> Report:
    """Add a convolution's bias as the vector it is.

    Paddle writes ``conv + reshape(bias, [1, C, 1, 1])``. oneDNN's fusion knows a bias only as a vector that is added
    along the channels, so each such convolution stayed apart from its bias and its activation.
    """
    report = _report("fold_bias")
    block = program.block
    reshapes = {op.output("Out")[0]: op for op in program.ops() if op.type == "reshape2"}
    for op in program.ops():
        if op.type != "elementwise_add" or op.input("Y")[0] not in reshapes:
            continue
        bias = reshapes[op.input("Y")[0]].input("X")[0]
        channels = program.shape(bias)
        if block.var(bias).persistable and program.shape(op.input("Y")[0]) == [1, *channels, 1, 1]:
            op.desc.set_input("Y", [bias])
            op._set_attr("axis", 1)
            _count(report, "biases_folded")
    _drop_unread(program, "reshape2")
    return report


def mean_to_pool(program: Program) -> Report:
    """Write a mean over height and width as a global average pool, which oneDNN has a fast kernel for."""
    report = _report("mean_to_pool")
    block = program.block
    for i, op in enumerate(list(block.ops)):
        if op.type != "reduce_mean" or not op.attr("keep_dim") or list(op.attr("dim")) not in ([2, 3], [-2, -1]):
            continue
        source, target = op.input("X"), op.output("Out")
        size = program.shape(source[0])[2:]
        block._remove_op(i)
        block._insert_op(
            i,
            type="pool2d",
            inputs={"X": source},
            outputs={"Out": target},
            attrs={
                "pooling_type": "avg", "ksize": size, "strides": [1, 1], "paddings": [0, 0], "global_pooling": True,
                "adaptive": False, "exclusive": True, "ceil_mode": False, "data_format": "NCHW",
            },
        )  # fmt: skip
        _count(report, "means_to_pools")
    return report


def float_tail(program: Program) -> Report:
    """Leave everything behind a Softmax in float: the distribution over box edges, and the boxes decoded from it.

    A convolution there is no layer of the network but a sum over the bins 0 .. n-1. Its weights in eight bits are off
    by up to two pixels on the coarsest map; where they are that ramp up to rounding, they become it again. It is
    written as a product and a sum: Paddle's INT8 pass refuses a program in which some convolutions have no scales.
    """
    report = _report("float_tail")
    tail: set[str] = set()
    for op in program.ops():
        if op.type == "softmax" or tail.intersection(op.input_arg_names):
            tail.update(op.output_arg_names)
    for op in program.ops():
        if op.type == QUANTIZE and op.input("X")[0] in tail:
            for back in _readers(program, op.output("Y")[0]):
                _redirect(program, back.output("Y")[0], op.input("X")[0])
            _count(report, "pairs_removed")
    block = program.block
    for i in reversed(range(len(block.ops))):
        op = block.ops[i]
        if op.type != "conv2d" or op.input("Input")[0] not in tail:
            continue
        source = program.producer(op.input("Filter")[0])
        if source is None or source.type != DEQUANTIZE or program.shape(op.input("Filter")[0])[0] != 1:
            continue
        _projection(program, i, op, _float_weights(program, source))
        _count(report, "projections_in_float")
    _drop_unread(program, DEQUANTIZE, "Y")
    _drop_unread(program, QUANTIZE, "Y")
    return report


def _projection(program: Program, at: int, conv: Any, weights: str) -> None:
    """Replace a 1x1 convolution with one output channel by ``sum(x * w, channels)``."""
    block = program.block
    source, target = conv.input("Input")[0], conv.output("Output")[0]
    product = block.create_var(name=f"{target}.product", shape=program.shape(source), dtype="float32").name
    block._remove_op(at)
    block._insert_op(
        at,
        type="reduce_sum",
        inputs={"X": [product]},
        outputs={"Out": [target]},
        attrs={"dim": [1], "keep_dim": True, "reduce_all": False},
    )
    block._insert_op(
        at,
        type="elementwise_mul",
        inputs={"X": [source], "Y": [weights]},
        outputs={"Out": [product]},
        attrs={"axis": 1},
    )


PASSES: dict[str, Callable[[Program], Report]] = {p.__name__: p for p in (fold_bias, mean_to_pool, float_tail)}


def lower(program: Program, names: Sequence[str]) -> list[Report]:
    """Run the named passes in order; each one's report: ``name``, ``counts``, ``remarks``.

    Raises:
        ConfigError: a name that is not a pass.
    """
    if unknown := [name for name in names if name not in PASSES]:
        raise ConfigError([f"Paddle pass {name!r} is not known; there are {', '.join(PASSES)}" for name in unknown])
    return [PASSES[name](program) for name in names]


def _float_weights(program: Program, dequantizer: Any) -> str:
    """The name of a new parameter with the float values of a filter's int8 weights, as a vector."""
    name = dequantizer.input("X")[0]
    scope = paddle.static.global_scope()
    stored = np.asarray(scope.find_var(name).get_tensor())
    # Paddle's scale is the range: a step is a 127th of it.
    steps = np.asarray(scope.find_var(dequantizer.input("Scale")[0]).get_tensor(), np.float32) / 127
    axis = dequantizer.attr("quant_axis")
    if steps.size > 1:
        steps = steps.reshape([-1 if d == axis else 1 for d in range(stored.ndim)])
    values = (stored.astype(np.float32) * steps).ravel()
    ramp = np.arange(values.size, dtype=np.float32)
    if np.all(np.abs(values - ramp) <= 0.5 * steps.ravel() + 1e-6):
        values = ramp
    made = f"{name}.float"
    if scope.find_var(made) is None:
        program.block.create_parameter(name=made, shape=[values.size], dtype="float32", initializer=_nothing)
        scope.var(made).get_tensor().set(values, paddle.CPUPlace())
    return made


def _nothing(variable: Any, block: Any) -> None:
    """An initializer that adds no operator: the value is set in the scope."""


def _readers(program: Program, name: str) -> list[Any]:
    return [op for op in program.block.ops if name in op.input_arg_names]


def _redirect(program: Program, old: str, new: str) -> None:
    """Let everyone who reads ``old`` read ``new``."""
    for op in _readers(program, old):
        op.desc._rename_input(old, new)


def _drop_unread(program: Program, kind: str, slot: str = "Out") -> None:
    """Remove the operators of a kind whose output nobody reads."""
    block = program.block
    read = {name for op in block.ops for name in op.input_arg_names} | set(program.fetches)
    for i in reversed(range(len(block.ops))):
        if block.ops[i].type == kind and block.ops[i].output(slot)[0] not in read:
            block._remove_op(i)


def _report(name: str) -> Report:
    return {"name": name, "counts": {}, "remarks": []}


def _count(report: Report, what: str) -> None:
    report["counts"][what] = report["counts"].get(what, 0) + 1
