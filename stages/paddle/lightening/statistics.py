"""What the channels of a program do on images: their moments, and what the outputs owe to them.

All sums are taken inside the graph, so that no activation leaves it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddleslim.common.recover_program import recover_inference_program

from stages.errors import StageError
from stages.paddle.runtime.execution import Runner
from stages.paddle.runtime.program import Program, extend

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

_BOX_PIXELS = 16.0
"""A box side that is off by so many pixels counts as much as a score that is off by one."""
_REMEMBERING = ("squeeze2", "unsqueeze2", "reshape2", "transpose2", "flatten_contiguous_range")


@dataclass(frozen=True)
class Moments:
    """Of the channels of an activation [batch, channels, height, width], over images and positions."""

    mean: Array
    """[channels]"""
    second: Array
    """[channels, channels]: the mean of the products of two channels."""

    @property
    def covariance(self) -> Array:
        return np.asarray(self.second - np.outer(self.mean, self.mean))


def find_moments(program: Program, names: Sequence[str], batches: Iterable[Feeds], threads: int) -> dict[str, Moments]:
    """Activation -> its moments."""
    pruned = program.prune(names)
    fetched = []
    with extend(pruned.desc, "moments"):
        for name in names:
            variable = pruned.block.var(name)
            rows = paddle.reshape(paddle.transpose(variable, [1, 0, 2, 3]), [variable.shape[1], -1])
            fetched += [paddle.mean(rows, axis=1), paddle.matmul(rows, rows, transpose_y=True), paddle.shape(rows)]
    runner = Runner(pruned.desc, threads)
    sums: dict[str, list[Any]] = {name: [0.0, 0.0, 0] for name in names}
    for feeds in batches:
        values = runner.run({name: feeds[name] for name in pruned.feeds}, fetched)
        for i, name in enumerate(names):
            mean, products, shape = values[3 * i : 3 * i + 3]
            count = int(shape[1])
            own = sums[name]
            own[0] += mean.astype(np.float64) * count
            own[1] += products.astype(np.float64)
            own[2] += count
    return {name: Moments(total / count, products / count) for name, (total, products, count) in sums.items()}


def find_effects(
    program: Program, names: Sequence[str], batches: Iterable[Feeds], threads: int, seed: int = 0
) -> dict[str, Array]:
    """Activation -> float64 [images, channels]: how far the outputs move as a channel is faded out, to first order.

    The channel is multiplied by a gate; what is given is the derivative by this gate of the outputs' weighted sum with
    random signs. The mean of its square over signs is the squared length of the outputs' derivative (Hutchinson's
    estimator), and effects of channels that go together add up before they are squared. Scores count as they are, boxes
    in steps of 16 pixels and by the anchor's best score.

    Raises:
        StageError: batch normalization is not folded; gradients would train it.
    """
    if any(op.type == "batch_norm" for op in program.ops()):
        raise StageError("fewer channels: fold batch normalization into the convolutions first.")
    clone = program.prune(program.fetches)
    clone.desc = recover_inference_program(clone.desc, paddle.static.Program())
    block = clone.block
    _remember_shapes(block)
    for place in reversed([i for i, op in enumerate(block.ops) if op.type == "feed"]):
        block._remove_op(place)  # they list the images only; without them the signs may be fed too
    for variable in block.vars.values():
        variable.stop_gradient = variable.persistable or variable.name in clone.feeds
    boxes, scores = (block.var(name) for name in clone.fetches)
    with extend(clone.desc, "effects"):
        signs = [
            paddle.static.data(f"effects_{kind}", [-1, *list(variable.shape)[1:]], "float32")
            for kind, variable in (("boxes", boxes), ("scores", scores))
        ]
        best = paddle.max(scores, axis=1)
        best.stop_gradient = True
        weight = paddle.unsqueeze(best, 2) / _BOX_PIXELS
        total = paddle.sum(boxes * weight * signs[0]) + paddle.sum(scores * signs[1])
        gated = [block.var(name) for name in names]
        gradients = paddle.static.gradients([total], gated)
        fetched = [paddle.sum(g * v, axis=[2, 3]) for g, v in zip(gradients, gated, strict=True)]
    runner = Runner(clone.desc, threads)
    rng = np.random.default_rng(seed)
    found: dict[str, list[Array]] = {name: [] for name in names}
    for feeds in batches:
        own: dict[str, Array] = {name: feeds[name] for name in clone.feeds}
        count = len(next(iter(own.values())))
        for variable in signs:
            shape = (count, *list(variable.shape)[1:])
            own[variable.name] = rng.choice(np.array([-1.0, 1.0], np.float32), shape)
        for name, value in zip(names, runner.run(own, fetched), strict=True):
            found[name].append(value.astype(np.float64))
    return {name: np.concatenate(values) for name, values in found.items()}


def _remember_shapes(block: Any) -> None:
    """Give operators back the output that only their gradient reads, and that saving has dropped."""
    for op in list(block.ops):
        if op.type in _REMEMBERING and not (("XShape" in op.output_names) and op.output("XShape")):
            source = block.var(op.input("X")[0])
            made = block.create_var(name=f"{op.output('Out')[0]}.xshape", shape=(0, *source.shape), dtype=source.dtype)
            op.desc.set_output("XShape", [made.name])
