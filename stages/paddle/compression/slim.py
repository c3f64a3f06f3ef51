"""PaddleSlim's quantization-aware training, taken apart: programs in, programs out; the loop is ours (``qat.py``).

The student's graph, its PACT thresholds and its optimizer are PaddleSlim's and Paddle's. Different from
``AutoCompression.compress()``:

- Batch normalization is folded into the convolutions first. ACT trains it on batches of four images, whose statistics
  then replace those of the real training.
- The teacher runs apart (``teacher``), in Paddle Inference, and its outputs are fed: it can run ahead in another thread
  and needs no gradient bookkeeping.
- The projection of the box distribution (a fixed 1x1 convolution by 0, 1, ..., 16) is neither trained nor quantized: it
  costs next to nothing and an error in it moves every box.
- Output ranges are observed after training, on the finished student, up to the last convolutions. ACT tracks them
  while training only where the training program reaches, and leaves its initial value 1.0 at the rest, the class logits
  among it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import paddleslim.quant.quanter as quanter
from paddle.framework import IrGraph, core
from paddle.static.quantization import (
    AddQuantDequantForInferencePass,
    QuantizationTransformPassV2,
    QuantWeightPass,
)
from paddleslim.common.recover_program import recover_inference_program

from stages.errors import StageError
from stages.options.compression import MOVING_AVERAGE, CompressionSettings
from stages.paddle.compression.anatomy import skip_projections, skip_readers
from stages.paddle.compression.fused_rounding import fuse_roundings
from stages.paddle.compression.losses import TEACHER, distill_loss
from stages.paddle.compression.mixing import leave_in_float
from stages.paddle.compression.pact import clip
from stages.paddle.runtime.place import current_place
from stages.paddle.runtime.program import Program, extend

Array = npt.NDArray[Any]

SCALE = "@scale"  # the scale of variable X is X@scale, also where PACT comes between X and its quantizer
PACT = "_tmp_input_pact"  # X's threshold is X_tmp_input_pact
SMALLEST_RANGE = 1e-8  # of an activation that is always zero
SMALLEST_CHANNEL = 1e-4  # largest weight of a channel, relative to that of the whole convolution


@dataclass
class Student:
    """What the training loop needs of the student; its variables are in the current scope."""

    train: Any  # paddle.static.Program with loss, gradients and optimizer
    inference: Program  # the same student up to boxes and scores, quantizers fixed; shares the variables
    nodes: list[str]
    loss: str
    learning_rate: str
    state: list[str]  # variables that change in training: a checkpoint is their values
    activations: dict[str, tuple[str, str, str]]  # quantized activation -> scale, accumulator, state
    # node -> shape of what a larger teacher gives for it; else the node's own
    given: Mapping[str, Sequence[int]] = field(default_factory=dict)


def build_student(
    program: Program,
    nodes: list[str],
    options: CompressionSettings,
    scope: Any,
    given: Mapping[str, Sequence[int]] | None = None,
) -> Student:
    """Quantize ``program`` for training and for inference.

    ``program`` has an open batch; teacher outputs are fed as ``teacher_`` + node, in the shapes ``given`` of a larger
    teacher's.
    """
    given = given or {}
    place = current_place()
    executor = paddle.static.Executor(place)
    frozen = skip_projections(program)
    skip_readers(program, options.skip_tensor_list, options.quantize_op_types)
    student = program.prune(nodes)
    desc = recover_inference_program(student.desc, paddle.static.Program())
    for parameter in desc.global_block().all_parameters():
        if parameter.name in frozen:
            parameter.trainable = False
            parameter.stop_gradient = True
    startup = paddle.static.Program()
    with extend(desc, "distill", startup):
        loss = _loss(desc, nodes, options, given)
        optimizer = paddle.optimizer.SGD(learning_rate=options.lr, weight_decay=options.weight_decay)
        optimizer.minimize(loss)
        rate = optimizer._global_learning_rate().name
    executor.run(startup)

    graph = IrGraph(core.Graph(desc.desc), for_test=False)
    _quantize(graph, options, scope, place, executor, training=True)
    train = graph.to_program()
    if options.activation_ranges != MOVING_AVERAGE:
        for op in train.global_block().ops:
            if op.type == "quantize_linear" and not train.global_block().var(op.input("X")[0]).persistable:
                op._set_attr("is_test", True)  # the range is kept, the gradient passes as before
    activations = {
        op.input("Scale")[0].removesuffix(SCALE): (op.input("Scale")[0], op.input("InAccum")[0], op.input("InState")[0])
        for op in train.global_block().ops
        if op.type == "quantize_linear" and not train.global_block().var(op.input("X")[0]).persistable
    }
    return Student(
        train=fuse_roundings(train),
        inference=build_inference(program, options, scope),
        nodes=nodes,
        loss=loss.name,
        learning_rate=rate,
        state=changing(train),
        activations=activations,
        given=given,
    )


def attach_loss(desc: Any, student: Student, options: CompressionSettings) -> str:
    """Add the student's distillation loss to an inference program; returns its name. Teacher outputs are fed as above,
    projections have the values that they were trained to."""
    block = desc.global_block()
    for place in reversed([i for i, op in enumerate(block.ops) if op.type == "feed"]):
        block._remove_op(place)  # they list the images only; without them everything may be fed
    with extend(desc, "judge", paddle.static.Program()):
        return str(_loss(desc, student.nodes, options, student.given).name)


def _loss(desc: Any, nodes: list[str], options: CompressionSettings, given: Mapping[str, Sequence[int]]) -> Any:
    block = desc.global_block()
    for name in nodes:
        paddle.static.data(TEACHER + name, list(given.get(name, block.var(name).shape)), "float32")
    return distill_loss(desc, nodes, options)


def build_inference(program: Program, options: CompressionSettings, scope: Any) -> Program:
    """The quantized graph up to boxes and scores, with the scales of ``scope`` as they are when it runs."""
    skip_projections(program)
    skip_readers(program, options.skip_tensor_list, options.quantize_op_types)
    graph = IrGraph(core.Graph(program.desc.clone(for_test=True).desc), for_test=True)
    _quantize(graph, options, scope, current_place(), None, training=False)
    return Program(graph.to_program(), program.feeds, program.fetches)


def quantized_activations(inference: Program) -> list[str]:
    """Names of the variables (not weights) that have a quantizer."""
    names = {op.input("X")[0] for op in inference.ops() if op.type == "quantize_linear"}
    return sorted(name for name in names if not inference.block.var(name).persistable)


def set_weight_scales(inference: Program, scope: Any) -> None:
    """Set each weight's scale to its largest absolute value, per channel if its quantizer is.

    Training does so in every step, but not after the last; without training the scales are still their initial values.
    A channel of zeros, or nearly so, gets a scale above zero: a bias is stored in units of input scale x weight scale,
    and would overflow otherwise.
    """
    for op in inference.ops():
        if op.type == "quantize_linear" and inference.block.var(op.input("X")[0]).persistable:
            weight, axis = np.abs(read(scope, op.input("X")[0])), int(op.attr("quant_axis"))
            others = tuple(i for i in range(weight.ndim) if i != axis)
            scale = weight.max(axis=others) if axis >= 0 else weight.max()
            floor = float(weight.max()) * SMALLEST_CHANNEL or 1.0
            write(scope, op.input("Scale")[0], np.maximum(scale, floor))


def _quantize(
    graph: Any, options: CompressionSettings, scope: Any, place: Any, executor: Any, *, training: bool
) -> None:
    """Insert quantizers before the convolutions, PACT before those of the activations (training only)."""
    pact = options.use_pact and training
    transform = QuantizationTransformPassV2(
        scope=scope,
        place=place,
        weight_bits=8,
        activation_bits=8,
        activation_quantize_type="moving_average_abs_max",
        weight_quantize_type=options.weight_quantize_type,
        quantizable_op_type=list(options.quantize_op_types),
        act_preprocess_func=clip if pact else None,
        optimizer_func=quanter.get_pact_optimizer if pact else None,
        executor=executor if pact else None,
        is_test=not training,
    )
    for sub_graph in graph.all_sub_graphs():
        transform.apply(sub_graph)


def changing(train: Any) -> list[str]:
    """Persistable variables that an operator of the training program writes."""
    block = train.global_block()
    written = {name for op in block.ops for name in op.output_arg_names}
    return sorted(name for name in written if block.has_var(name) and block.var(name).persistable)


def finish(inference: Program, ranges: dict[str, float], options: CompressionSettings, scope: Any, out: Path) -> None:
    """Write the INT8 inference model (weights as int8, quantize/dequantize operators) to ``out``/model.pd*."""
    place = current_place()
    set_weight_scales(inference, scope)
    graph = IrGraph(core.Graph(inference.desc.desc), for_test=True)
    weights = QuantWeightPass(scope, place)
    observers = AddQuantDequantForInferencePass(scope, place, quant_bits=8, calibration_range_dict=ranges)
    for sub_graph in graph.all_sub_graphs():
        weights.apply(sub_graph)
        observers.apply(sub_graph)
    finished = Program(graph.to_program(), inference.feeds, inference.fetches)
    if not any(op.type == "dequantize_linear" for op in finished.ops()):
        raise StageError(
            "the model has no operator that can be quantized; check compression.quantize_op_types "
            f"({', '.join(options.quantize_op_types)})."
        )
    if options.skip_tensor_list:
        leave_in_float(finished)
    finished.save(out / "model")


def read(scope: Any, name: str) -> Array:
    """A copy of a variable's value."""
    return np.array(scope.find_var(name).get_tensor())


def write(scope: Any, name: str, value: npt.ArrayLike) -> None:
    """Set a variable's value, in the variable's own type and shape."""
    tensor = scope.find_var(name).get_tensor()
    old = np.asarray(tensor)
    tensor.set(np.asarray(value, old.dtype).reshape(old.shape), current_place())
