"""Distances between student and teacher.

``soft_label`` and ``l2`` are PaddleSlim's, at the outputs of the last operators with weights. ``detection`` compares
what the head says: class probabilities and box distributions, the latter where the teacher sees something. ``features``
adds the neck's features, which the head reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import paddle
from paddleslim.common.patterns import find_final_nodes
from paddleslim.dist import l2, soft_label

from stages.errors import ConfigError
from stages.options.compression import CompressionSettings
from stages.paddle.runtime.program import Program

TEACHER = "teacher_"


def distilled_nodes(program: Program, loss: str) -> list[str]:
    """Variables where student and teacher are compared.

    For ``detection``: class logits [B, C, h, w] and logits of the box distribution [B, bins, h * w, 4] of each level,
    in turns; for ``features`` behind them the neck's output [B, C, h, w] of each level.

    Raises:
        ConfigError: ``detection`` or ``features`` is asked for, and the model's head is another one.
    """
    if loss in ("detection", "features"):
        logits = _head_logits(program, loss)
        return logits if loss == "detection" else [*logits, *_neck_features(program, logits)]
    return [str(var.name()) for var in find_final_nodes(program.desc)]


def distill_loss(desc: Any, nodes: Sequence[str], options: CompressionSettings) -> Any:
    """The chosen loss times ``alpha``, a scalar variable of the program ``desc``."""
    if options.loss in ("detection", "features"):
        block = desc.global_block()
        pairs = [(block.var(TEACHER + node), block.var(node)) for node in nodes]
        heads = len(pairs) if options.loss == "detection" else len(pairs) // 3 * 2
        total = _detection(pairs[0:heads:2], pairs[1:heads:2], options.temperature)
        if options.loss == "features":
            total = total + options.feature_weight * _relative_error(pairs[heads:])
    else:
        measure = {"soft_label": soft_label, "l2": l2}[options.loss]
        total = sum(measure(TEACHER + node, node, desc) for node in nodes)
    return paddle.mean(total * options.alpha)


def _relative_error(features: list[tuple[Any, Any]]) -> Any:
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


def _head_logits(program: Program, loss: str) -> list[str]:
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
        raise ConfigError([f"compression.loss={loss} needs a PP-YOLOE head; use soft_label or l2 for this model"])
    return found
