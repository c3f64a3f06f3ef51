"""What is where in a detector's program: what to fold, to observe, and to leave in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddle.framework import IrGraph, core
from paddle.static.quantization import post_training_quantization
from paddle.static.quantization.quant_config import SUPPORT_QUANTIZATION_OP_DICT

from stages.artifacts import ExportedModel
from stages.errors import ConfigError
from stages.options.suggest import close_to, suggestion
from stages.paddle.runtime.program import Program

SHOWN = 6
"""Names that a message shows of a list."""

_SKIP = "/skip_quant/"
_FOLDING = (
    "conv_bn_fuse_pass",
    "depthwise_conv_bn_fuse_pass",
    "conv_transpose_bn_fuse_pass",
    "conv_eltwiseadd_bn_fuse_pass",
    "depthwise_conv_eltwiseadd_bn_fuse_pass",
)


def open_batch(model: ExportedModel) -> dict[str, list[int]]:
    """Shapes of the model's inputs with the batch left open."""
    height, width = model.input_size
    shapes = {model.image_input: [-1, 3, height, width]}
    if model.scale_factor:
        shapes[model.scale_input] = [-1, 2]
    return shapes


def fold_batch_norm(program: Program, scope: Any) -> Program:
    """The same function with each batch normalization merged into its convolution (new weights in ``scope``)."""
    graph = post_training_quantization._remove_ctrl_vars(IrGraph(core.Graph(program.desc.desc), for_test=True))
    for name in _FOLDING:
        graph = post_training_quantization._apply_pass(scope, graph, name)
    return Program(graph.to_program(), program.feeds, program.fetches)


def is_projection(program: Program, op: Any) -> bool:
    """Whether ``op`` is the head's projection, which turns the distribution of a box side into its expectation.

    A 1x1 convolution to one channel right behind a softmax, by the fixed weights 0, 1, 2, ... (training leaves rounding
    errors in them, so their values are not asked for).
    """
    if op.type != "conv2d" or program.shape(op.input("Filter")[0])[0::2] != [1, 1]:
        return False
    source = program.producer(op.input("Input")[0])
    return source is not None and source.type == "softmax"


def skip_projections(program: Program) -> set[str]:
    """Mark the head's fixed projections as not to be quantized; returns the names of their weights."""
    weights = set()
    for op in program.ops():
        if is_projection(program, op):
            op._set_attr("op_namescope", _SKIP)
            weights.add(op.input("Filter")[0])
    return weights


def skip_readers(program: Program, tensors: Sequence[str], quantized: Sequence[str]) -> None:
    """Mark the operators of the ``quantized`` types that read one of these tensors as not to be quantized.

    Raises:
        ConfigError: no such operator reads one of them.
    """
    readers = [op for op in program.ops() if op.type in quantized]
    known = list(dict.fromkeys(name for op in readers for name in op.input_arg_names))
    if missing := [name for name in tensors if name not in known]:
        raise ConfigError(
            [
                f"compression.skip_tensor_list: no operator that is quantized reads {', '.join(missing)}"
                f"{suggestion(close_to(missing[0], known))} (there are {', '.join(known[:SHOWN])} and others; batch "
                "normalization is folded into the convolutions)"
            ]
        )
    for op in readers:
        if not set(tensors).isdisjoint(op.input_arg_names):
            op._set_attr("op_namescope", _SKIP)


def skip(op: Any) -> None:
    """Mark ``op`` as not to be quantized."""
    op._set_attr("op_namescope", _SKIP)


def is_skipped(op: Any) -> bool:
    """Whether one of the functions above has marked ``op``."""
    return bool(op.has_attr("op_namescope") and op.attr("op_namescope") == _SKIP)


def observed_outputs(program: Program, quantized: Sequence[str]) -> list[str]:
    """Activations whose range the deployed model states: outputs up to the last quantized operators and their biases.

    Behind them the boxes are decoded; that stays in float. ``quantized`` are the types of quantized operators.
    """
    wanted: set[str] = set()
    for op in program.ops():
        biased = op.type == "elementwise_add" and op.input("X")[0] in wanted
        if biased or (op.type in quantized and op.attr("op_namescope") != _SKIP):
            wanted.update(op.output_arg_names)
    names: list[str] = []
    needed = set(wanted)
    for op in reversed(program.ops()):
        if needed.isdisjoint(op.output_arg_names):
            continue
        needed.update(op.input_arg_names)
        if op.type not in SUPPORT_QUANTIZATION_OP_DICT:
            continue
        for slot in SUPPORT_QUANTIZATION_OP_DICT[op.type][1]:
            for name in op.output(slot) if slot in op.output_names else []:
                var = program.block.var(name)
                if var.dtype == paddle.float32 and list(var.shape)[:1] == [-1]:
                    names.append(name)
    return names[::-1]
