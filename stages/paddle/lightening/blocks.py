"""The training program of a lighter student: the whole, or each block alone, fed with the original's features."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import paddle
from paddleslim.common.recover_program import recover_inference_program

from stages.options.compression import CompressionSettings
from stages.paddle.compression import anatomy, slim
from stages.paddle.compression.losses import TEACHER, distill_loss, relative_error
from stages.paddle.lightening.activations import ACTIVATION_OPERATORS
from stages.paddle.lightening.channels import Pruned
from stages.paddle.runtime.place import current_place
from stages.paddle.runtime.program import Program, extend


def build(
    program: Program, nodes: list[str], settings: CompressionSettings, ends: Sequence[str], prefix: str
) -> slim.Student:
    """The training program: ``program`` up to ``nodes``, the loss and Adam.

    Args:
        program: with an open batch; teacher outputs are fed as ``teacher_`` + node.
        ends: variables that are fed to what follows in the form of the teacher's; each is compared with it.
        prefix: of what is added.
    """
    compared = joined(nodes, ends)
    pruned = program.prune(compared)
    desc = recover_inference_program(pruned.desc, paddle.static.Program())
    fixed = {op.input("Filter")[0] for op in program.ops() if anatomy.is_projection(program, op)}
    for parameter in desc.global_block().all_parameters():
        if parameter.name in fixed:
            parameter.trainable = False
            parameter.stop_gradient = True
    startup = paddle.static.Program()
    with extend(desc, prefix, startup):
        block = desc.global_block()
        for name in compared:
            paddle.static.data(TEACHER + name, list(block.var(name).shape), "float32")
        for op in block.ops if ends else ():
            for end in ends:
                if end in op.input_arg_names:
                    op._rename_input(end, TEACHER + end)
        loss = distill_loss(desc, nodes, settings)
        others = [(block.var(TEACHER + end), block.var(end)) for end in ends if end not in nodes]
        if others:
            loss = loss + relative_error(others)
        optimizer = paddle.optimizer.Adam(learning_rate=settings.lr)
        optimizer.minimize(loss)
        rate = optimizer._global_learning_rate().name
    paddle.static.Executor(current_place()).run(startup)
    return slim.Student(
        train=desc,
        inference=program,
        nodes=nodes,
        loss=loss.name,
        learning_rate=rate,
        state=slim.changing(desc),
        activations={},
    )


def joined(nodes: Sequence[str], ends: Sequence[str]) -> list[str]:
    """Each once."""
    return [*nodes, *(end for end in ends if end not in nodes)]


def block_ends(program: Program, features: Sequence[str]) -> list[str]:
    """Where blocks end: what the neck gives to the head, and behind the convolution that reads a concatenation, as
    each CSP stage of backbone and neck has one (with attention in between or not)."""
    readers: dict[str, list[Any]] = {}
    ops = program.ops()
    order = {name: i for i, op in enumerate(ops) for name in op.output_arg_names}
    for op in ops:
        for name in op.input_arg_names:
            readers.setdefault(name, []).append(op)
    found = set(features)
    last = max(order[name] for name in features)
    for op in ops:
        if op.type != "concat" or len(program.shape(op.output("Out")[0])) != 4:
            continue
        for convolution in _behind(readers, op.output("Out")[0]):
            end = _activated(program, readers, convolution.output("Output")[0])
            if order[end] < last:
                found.add(end)
    return sorted(found, key=order.__getitem__)


def _behind(readers: Mapping[str, Sequence[Any]], name: str) -> Iterator[Any]:
    """The convolutions that read ``name`` on its whole map, through the product with an attention or not."""
    for op in readers.get(name, ()):
        if op.type == "conv2d":
            yield op
        elif op.type == "elementwise_mul":
            yield from (o for o in readers.get(op.output("Out")[0], ()) if o.type == "conv2d")


def _activated(program: Program, readers: Mapping[str, Sequence[Any]], name: str) -> str:
    """What comes of a convolution's output behind its bias and its activation, where each alone reads the other."""
    for kinds in (("elementwise_add",), ACTIVATION_OPERATORS):
        found = readers.get(name, ())
        if len(found) != 1 or found[0].type not in kinds:
            continue
        if found[0].type == "elementwise_add" and not program.block.var(found[0].input("Y")[0]).persistable:
            break  # a residual sum, no bias
        name = found[0].output("Out")[0]
    return name


def kept_channels(program: Program, pruned: Pruned, nodes: Sequence[str]) -> dict[str, Any]:
    """Node -> the channels that ``pruned`` has left of it, of those nodes of the whole ``program`` that lost some."""
    found = {}
    for node in nodes:
        op = program.producer(node)
        source = op.input("X")[0] if op is not None and op.type in ACTIVATION_OPERATORS else node
        left = pruned.kept_of(source)
        if left is not None and len(left) < program.shape(node)[1]:
            found[node] = left
    return found
