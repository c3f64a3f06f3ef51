"""Programs of mixed precision: an INT8 program in which some layers compute in float, with the FP32 model's weights.

What is left in float: the convolution, its weights and bias (those of the FP32 model), what it reads, and what is
computed of its result up to the next layers that are quantized. A tensor that a quantized layer reads is still rounded
for that one. Every layer in float gives the FP32 model, no layer the INT8 program as it was.

Layers are known by the names of their weights, which are the same in both programs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.artifacts import ExportedModel
from stages.errors import StageError
from stages.paddle.compression import anatomy
from stages.paddle.inference.lowering import DEQUANTIZE, QUANTIZE
from stages.paddle.models.layer_names import WEIGHT_OPS
from stages.paddle.runtime.program import Program, fresh_scope, load_program

Array = npt.NDArray[Any]
PROGRAM, PARAMS = "model.pdmodel", "model.pdiparams"


@dataclass(frozen=True)
class FloatLayer:
    """A layer of the FP32 model: weights, and bias [channels] (``None`` without one); batch norm is folded in."""

    weight: Array
    bias: Array | None


def float_layers(base: ExportedModel) -> dict[str, FloatLayer]:
    """Name of the weights -> the layer, of the FP32 model."""
    with fresh_scope() as scope:
        program = anatomy.fold_batch_norm(load_program(base.path(PROGRAM), base.path(PARAMS)), scope)
        added = biases(program)
        found = {}
        for op in program.ops():
            if op.type in WEIGHT_OPS and (name := op.input(WEIGHT_OPS[op.type])[0]) and is_parameter(program, name):
                bias = added.get(_result(op))
                found[name] = FloatLayer(_value(scope, name), None if bias is None else _value(scope, bias))
        return found


def quantized_layers(model: ExportedModel) -> dict[str, int]:
    """Name of the weights -> multiply-adds per run, of each quantized layer of an INT8 program, in their order."""
    with fresh_scope():
        program = load_program(model.path(PROGRAM), model.path(PARAMS))
        found: dict[str, int] = {}
        for op, name in _quantized(program):
            weight, result = program.shape(name), program.shape(_result(op))
            outputs = program.shape(op.input("Input")[0]) if op.type == "conv2d_transpose" else result
            each = weight[-2] if op.type.startswith("matmul") else int(np.prod(weight[1:]))
            found[name] = found.get(name, 0) + int(np.prod(outputs)) * each
        return found


def mix(model: ExportedModel, layers: Mapping[str, FloatLayer], chosen: Collection[str], out: Path) -> None:
    """Write ``model`` with the ``chosen`` layers in float to ``out``/model.pd*.

    Raises:
        StageError: a chosen layer is no quantized layer of ``model``, or the FP32 model does not have it.
    """
    with fresh_scope() as scope:
        program = load_program(model.path(PROGRAM), model.path(PARAMS))
        quantized = _quantized(program)
        if missing := set(chosen) - ({name for _, name in quantized} & set(layers)):
            raise StageError(
                f"the layer with the weights {sorted(missing)[0]} cannot be left in float: the FP32 model and the INT8 "
                "one do not both have it; compress the model again"
            )
        added = biases(program)
        floats = [op for op, name in quantized if name in chosen]
        _bypass(program, floats, [op for op, name in quantized if name not in chosen])
        for op, name in quantized:
            if name in chosen:
                _restore(program, scope, op, name, layers[name], added.get(_result(op)))
        _drop_unread(program)
        out.mkdir(parents=True, exist_ok=True)
        program.save(out / "model")


def leave_in_float(program: Program) -> None:
    """Take out of an INT8 program what rounds tensors around the layers that `anatomy` has marked as not to be
    quantized: what they read, and what is computed of their results alone."""
    floats = [op for op in program.ops() if anatomy.is_skipped(op)]
    _bypass(program, floats, [op for op, _ in _quantized(program)])
    for op in floats:
        op._set_attr("skip_quant", 1)  # as in ``_restore``
    _drop_unread(program)


def _quantized(program: Program) -> list[tuple[Any, str]]:
    """Each operator whose weights are stored as integers, and the name of these."""
    found = []
    makers = {op.output("Y")[0]: op for op in program.ops() if op.type == DEQUANTIZE}
    for op in program.ops():
        source = makers.get(op.input(WEIGHT_OPS[op.type])[0]) if op.type in WEIGHT_OPS else None
        if source is not None and is_parameter(program, source.input("X")[0]):
            found.append((op, source.input("X")[0]))
    return found


def _bypass(program: Program, floats: list[Any], quantized: list[Any]) -> None:
    """Let the float layers, and what is computed of their results alone, read tensors as they were before rounding."""
    plain = {id(op) for op in floats}  # float layers, and operators behind no quantized layer since
    integer = {id(op) for op in quantized}
    rounded: set[str] = set()  # tensors that come from a quantized layer, through operators without weights
    source = _sources(program)
    for op in program.ops():
        if op.type in (QUANTIZE, DEQUANTIZE):
            continue
        reads = [source.get(name, name) for name in op.input_arg_names]
        if id(op) in integer or (id(op) not in plain and any(name in rounded for name in reads)):
            rounded.update(op.output_arg_names)
        if id(op) in integer:
            continue
        for name in dict.fromkeys(op.input_arg_names):
            before = source.get(name)
            if before is not None and (id(op) in plain or before not in rounded):
                op.desc._rename_input(name, before)


def _sources(program: Program) -> dict[str, str]:
    """Dequantized tensor -> the tensor that was quantized (weights, which have none, left out)."""
    made = {op.output("Y")[0]: op.input("X")[0] for op in program.ops() if op.type == QUANTIZE}
    pairs = {op.output("Y")[0]: op.input("X")[0] for op in program.ops() if op.type == DEQUANTIZE}
    return {after: made[integers] for after, integers in pairs.items() if integers in made}


def _restore(program: Program, scope: Any, op: Any, name: str, layer: FloatLayer, bias: str | None) -> None:
    """Give a layer its float weights and bias."""
    made = f"{name}.float"
    if scope.find_var(made) is None:
        shape = list(layer.weight.shape)
        program.block.create_parameter(name=made, shape=shape, dtype="float32", initializer=_no_initializer)
        scope.var(made).get_tensor().set(layer.weight, paddle.CPUPlace())
    op.desc.set_input(WEIGHT_OPS[op.type], [made])
    # Paddle's INT8 pass hands ranges on from one operator to the next and would quantize this layer by them.
    op._set_attr("skip_quant", 1)
    if (bias is None) != (layer.bias is None):
        raise StageError(f"the layer with the weights {name} has a bias in one of FP32 and INT8 only; compress again")
    if bias is not None and layer.bias is not None:
        tensor = scope.find_var(bias).get_tensor()
        tensor.set(layer.bias.reshape(np.asarray(tensor).shape), paddle.CPUPlace())


def biases(program: Program) -> dict[str, str]:
    """A layer's result -> the parameter that is added to it; through a Q/DQ pair, and through a reshape of the
    parameter."""
    source = _sources(program)
    reshaped = {op.output("Out")[0]: op.input("X")[0] for op in program.ops() if op.type == "reshape2"}
    found: dict[str, str] = {}
    for op in program.ops():
        if op.type == "elementwise_add":
            added = reshaped.get(op.input("Y")[0], op.input("Y")[0])
            if is_parameter(program, added):
                found[source.get(op.input("X")[0], op.input("X")[0])] = added
    return found


def _drop_unread(program: Program) -> None:
    """Remove quantizers and dequantizers that nobody reads any more."""
    block = program.block
    read = set(program.fetches)
    for i in reversed(range(len(block.ops))):
        op = block.ops[i]
        if op.type in (QUANTIZE, DEQUANTIZE) and op.output("Y")[0] not in read:
            block._remove_op(i, sync=False)  # syncing copies the whole block, so once is enough
        else:
            read.update(op.input_arg_names)
    block._sync_with_cpp()


def _result(op: Any) -> str:
    return str(op.output("Output" if "conv" in op.type else "Out")[0])


def is_parameter(program: Program, name: str) -> bool:
    return bool(program.block.var(name).persistable)


def _value(scope: Any, name: str) -> Array:
    return np.array(scope.find_var(name).get_tensor())


def _no_initializer(variable: Any, block: Any) -> None:
    """The value is set in the scope, by no operator."""
