"""Distances between student and teacher.

``soft_label`` and ``l2`` are PaddleSlim's, at the outputs of the last operators with weights. ``detection`` compares
what the head says: class probabilities and box distributions, the latter where the teacher sees something. ``features``
adds the neck's features, which the head reads.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Protocol

import paddle
from paddleslim.common.patterns import find_final_nodes
from paddleslim.dist import l2, soft_label

from stages.errors import ConfigError
from stages.options.compression import LOSSES, CompressionSettings
from stages.paddle.compression.projection import project
from stages.paddle.runtime.program import Program

TEACHER = "teacher_"


class Loss(Protocol):
    """One choice of ``compression.loss``; `stages.options.compression.LOSSES` names it."""

    def nodes(self, program: Program) -> list[str]:
        """Variables where student and teacher are compared.

        Raises:
            ConfigError: the model has not what the loss looks at.
        """

    def total(self, desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
        """The distance of student and teacher at ``nodes``, a variable of the program ``desc``."""


class SoftLabel:
    """PaddleSlim's cross entropy of the outputs' softmax."""

    def nodes(self, program: Program) -> list[str]:
        return [str(var.name()) for var in find_final_nodes(program.desc)]

    def total(self, desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
        return sum(soft_label(TEACHER + node, node, desc) for node in nodes)


class L2(SoftLabel):
    """PaddleSlim's mean squared difference of the outputs."""

    def total(self, desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
        return sum(l2(TEACHER + node, node, desc) for node in nodes)


class Detection:
    """Class probabilities and box distributions.

    The nodes are class logits [B, C, h, w] and logits of the box distribution [B, bins, h * w, 4] of each level, in
    turns.
    """

    def nodes(self, program: Program) -> list[str]:
        return _head_logits(program)

    def total(self, desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
        pairs = _pairs(desc, nodes)
        return _detection(pairs[0::2], pairs[1::2], options.temperature)


class Features:
    """As ``Detection``, and behind its nodes the neck's output [B, C, h, w] of each level."""

    def nodes(self, program: Program) -> list[str]:
        logits = _head_logits(program)
        return [*logits, *_neck_features(program, logits)]

    def total(self, desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
        heads = len(nodes) // 3 * 2
        features = _pairs(desc, nodes[heads:])
        if options.teacher is not None:  # a larger model, whose features have other channels
            features = [
                (theirs, project(node, ours, int(theirs.shape[1])))
                for node, (theirs, ours) in zip(nodes[heads:], features, strict=True)
            ]
        error = relative_error(features)
        return Detection().total(desc, nodes[:heads], options) + options.feature_weight * error


def _loss(name: str) -> Loss:
    module, _, attribute = LOSSES[name].partition(":")
    made: Loss = getattr(importlib.import_module(module), attribute)()
    return made


def distilled_nodes(program: Program, loss: str) -> list[str]:
    """Variables where student and teacher are compared by the chosen loss, see ``Loss.nodes``."""
    return _loss(loss).nodes(program)


def distill_loss(desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
    """The chosen loss times ``alpha``, a scalar variable of the program ``desc``."""
    return paddle.mean(_loss(options.loss).total(desc, nodes, options) * options.alpha)


def _pairs(desc: Any, nodes: Sequence[str]) -> list[tuple[Any, Any]]:
    """(teacher, student) at each node."""
    block = desc.global_block()
    return [(block.var(TEACHER + node), block.var(node)) for node in nodes]


def relative_error(features: list[tuple[Any, Any]]) -> Any:
    """Mean over the levels of |student - teacher|^2 / |teacher|^2."""
    parts = [paddle.sum(paddle.square(s - t)) / paddle.clip(paddle.sum(paddle.square(t)), 1e-6) for t, s in features]
    return sum(parts) / len(parts)


def _detection(classes: list[tuple[Any, Any]], boxes: list[tuple[Any, Any]], temperature: float) -> Any:
    """Divergence of class probabilities and of box distributions, per object that the teacher sees.

    Logits are divided by the temperature T first and the divergences multiplied by its square, which keeps the size of
    the gradients (Hinton et al., "Distilling the Knowledge in a Neural Network", section 2).

    With p the teacher's and q the student's probabilities and w = max over classes of p at an anchor: the
    Kullback-Leibler divergence of each class's p from q, summed over anchors and classes, plus that of the box
    distributions, averaged over the four sides and weighted with w; both divided by the sum of w.
    """
    losses, weights = [], []
    for class_pair, box_pair in zip(classes, boxes, strict=True):
        seen = paddle.max(paddle.nn.functional.sigmoid(class_pair[0]), axis=1, keepdim=True)  # [B, 1, h, w]
        (teacher_class, student_class), (teacher_box, student_box) = (
            [logits / temperature for logits in pair] if temperature != 1.0 else pair for pair in (class_pair, box_pair)
        )
        p = paddle.nn.functional.sigmoid(teacher_class)
        cross = paddle.nn.functional.binary_cross_entropy_with_logits(student_class, p, reduction="none")
        own = paddle.nn.functional.binary_cross_entropy_with_logits(teacher_class, p, reduction="none")
        flat = paddle.flatten(seen, start_axis=2)  # [B, 1, h * w]
        target = paddle.nn.functional.softmax(teacher_box, axis=1)
        ratio = paddle.nn.functional.log_softmax(teacher_box, axis=1) - paddle.nn.functional.log_softmax(
            student_box, axis=1
        )
        divergence = paddle.mean(paddle.sum(target * ratio, axis=1), axis=-1)  # [B, h * w]
        losses.append(paddle.sum(cross - own) + paddle.sum(divergence * paddle.squeeze(flat, axis=1)))
        weights.append(paddle.sum(seen))
    return temperature**2 * sum(losses) / paddle.clip(sum(weights), min=1.0)


def _neck_features(program: Program, logits: list[str]) -> list[str]:
    """For each level what the head reads: the last map of that size that class and box logits both come from."""
    ops = program.ops()
    order = {name: place for place, op in enumerate(ops) for name in op.output_arg_names}
    found = []
    for classes, boxes in zip(logits[0::2], logits[1::2], strict=True):
        size = program.shape(classes)[2:]
        common = _sources(ops, classes) & _sources(ops, boxes) & set(order)
        found.append(max((n for n in common if program.shape(n)[2:] == size), key=lambda name: order[name]))
    return found


def _sources(ops: Sequence[Any], target: str) -> set[str]:
    """Everything that ``target`` is computed from."""
    needed = {target}
    for op in reversed(ops):
        if not needed.isdisjoint(op.output_arg_names):
            needed.update(op.input_arg_names)
    return needed - {target}


def _head_logits(program: Program) -> list[str]:
    """Class and box logits of each level, found backwards from the outputs of the last operators with weights."""
    found: list[str] = []
    ops = program.ops()
    for var in find_final_nodes(program.desc):
        name = str(var.name())
        producer = program.producer(name)
        source = (
            program.producer(producer.input("Input")[0]) if producer is not None and producer.type == "conv2d" else None
        )
        if source is not None and source.type == "softmax":  # the projection of the box distribution
            found.append(source.input("X")[0])
            continue
        for op in ops:  # the class logits, with their bias
            if op.type == "elementwise_add" and name in op.input_arg_names:
                found.append(op.output("Out")[0])
    if len(found) % 2 or len(found) != len(find_final_nodes(program.desc)):
        raise ConfigError(["compression.loss: detection and features need a PP-YOLOE head; use soft_label or l2"])
    return found
