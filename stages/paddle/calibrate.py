"""Ranges of activations, observed while a program runs over images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.paddle.program import Program

Array = npt.NDArray[Any]


def observe(program: Program, names: Sequence[str], batches: Iterable[Mapping[str, Array]]) -> dict[str, Array]:
    """Name -> largest absolute value in each image, float32 [images], in the order of the batches.

    The maxima are taken inside the graph: the activations themselves (gigabytes for a large model) never leave it.
    Variables have the batch as their first dimension.
    """
    desc = program.desc.clone(for_test=True)
    block = desc.global_block()
    for i in reversed(range(len(block.ops))):
        if block.ops[i].type == "fetch":
            block._remove_op(i)
    with paddle.static.program_guard(desc):
        maxima = []
        for name in names:
            var = block.var(name)
            axes = list(range(1, len(var.shape)))
            maxima.append(paddle.max(paddle.abs(var), axis=axes) if axes else paddle.abs(var))
    executor = paddle.static.Executor(paddle.CPUPlace())
    desc = desc._prune(maxima)
    seen: list[list[Array]] = []
    for feeds in batches:
        seen.append([np.asarray(v).reshape(-1) for v in executor.run(desc, feed=dict(feeds), fetch_list=maxima)])
    return {name: np.concatenate([values[i] for values in seen]) for i, name in enumerate(names)}
