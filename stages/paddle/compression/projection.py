"""1x1 projections of the student's features onto a larger teacher's: trained beside the student, no part of it.

A larger model's features have other channels, so their distance from the student's is one of a linear map of these.
Source: A. Romero et al., "FitNets: Hints for thin deep nets" (2014, arXiv:1412.6550), section 2.2, where it is called a
regressor. It begins with the map that fits best by least squares: from random weights, thousands of steps at a
distillation's small rate would go into the map and none into the student.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.paddle.compression import anatomy
from stages.paddle.runtime.execution import Runner
from stages.paddle.runtime.program import Program

Array = npt.NDArray[Any]

RIDGE = 0.1
"""Added to the diagonal of the features' second moments, as a share of its mean: the coarsest level has few values an
image, so that some directions are hardly seen; weights of hundreds for these make a training fall apart."""


def weight_of(node: str) -> str:
    """The name of the weights, [teacher's channels, student's, 1, 1], of the projection of the student's ``node``."""
    return f"{node}.projection"


def project(node: str, features: Any, channels: int) -> Any:
    """The student's features [B, C, h, w] as ``channels`` ones; the operator stays in float."""
    weight = paddle.create_parameter(
        shape=[channels, int(features.shape[1]), 1, 1],
        dtype="float32",
        attr=paddle.ParamAttr(name=weight_of(node), initializer=paddle.nn.initializer.Constant(0.0)),
    )
    projected = paddle.nn.functional.conv2d(features, weight)
    for op in features.block.ops:
        if weight.name in op.input_arg_names:
            anatomy.skip(op)
    return projected


def best_projections(
    program: Program, targets: Mapping[str, str], feeds: Iterable[Mapping[str, Array]], threads: int
) -> dict[str, Array]:
    """Name of the weights -> those that bring the student's features closest to the teacher's over some images.

    Args:
        program: the student in float.
        targets: the student's node -> the name under which ``feeds`` has the teacher's features for it.
        feeds: the student's inputs, and the teacher's features.
    """
    nodes = list(targets)
    pruned = program.prune(nodes)
    runner = Runner(pruned.desc, threads)
    own: dict[str, Array] = {}
    both: dict[str, Array] = {}
    for one in feeds:
        values = runner.run({name: one[name] for name in pruned.feeds}, nodes)
        for node, value in zip(nodes, values, strict=True):
            ours, theirs = _flat(value), _flat(one[targets[node]])
            own[node] = own.get(node, 0) + ours @ ours.T
            both[node] = both.get(node, 0) + theirs @ ours.T
    return {weight_of(node): _solved(own[node], both[node]) for node in nodes}


def _flat(features: Array) -> Array:
    """[B, C, h, w] as float64 [C, B * h * w]."""
    return np.moveaxis(features, 1, 0).reshape(features.shape[1], -1).astype(np.float64)


def _solved(own: Array, both: Array) -> Array:
    """The weights W with least |W s - t|^2, from the sums of s s^T and t s^T, as float32 [t, s, 1, 1]."""
    damped = own + RIDGE * max(float(np.trace(own)) / len(own), 1e-12) * np.eye(len(own))
    return np.asarray(np.linalg.solve(damped, both.T).T[:, :, None, None], np.float32)
