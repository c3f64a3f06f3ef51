"""How much work a model is, so that what a stage took for one model says what it will take for another.

Counted from the configuration (`stages/detection/size.py`): nothing is built and Paddle is not loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pipelines.execution import ids
from pipelines.execution.node import Node, Work
from stages.detection.size import ModelSize, size_of
from stages.options.model import ModelOptions

PER_IMAGE = 1.2e9
"""Multiply-adds that take as long as what an image costs beside its convolutions; between the demo's detector and
PP-YOLOE-l, steps of the distillation and runs of the engines then differ about as they were measured to."""
PER_MODEL = 1e7
"""Parameters that take as long as what an export or a build costs for a model of any size."""
TRAINING = ("finetune", "lighten", "distill", "search")
"""Stages that take batches."""
BY_COMPUTATION = (
    *TRAINING,
    *("latency", "throughput", "profile", "accuracy", "detect", "thresholds", "sensitivity", "float_blocks"),
)
BY_SIZE = ("export", "build", "bundle")
"""Stages whose time grows with the model's multiply-adds, and with its parameters."""


def sized(nodes: Sequence[Node], model: ModelOptions) -> list[Node]:
    """The nodes, each that works on the model with how much work that is."""
    found = size_of(model)
    return [
        _sized(node, node.options.model.name, size_of(node.options.model))
        if node.id == ids.TEACHER
        else _sized(node, model.name, found)
        for node in nodes
    ]


def _sized(node: Node, model: str, size: ModelSize | None) -> Node:
    if node.stage not in (*BY_COMPUTATION, *BY_SIZE):
        return node
    if size is None:
        return dataclasses.replace(node, work=Work(model))
    amount = size.parameters + PER_MODEL if node.stage in BY_SIZE else size.multiply_adds + PER_IMAGE
    if node.stage in TRAINING:
        amount *= node.options.batch
    elif node.stage == "detect":
        amount *= node.options.images
    parameters = float(size.parameters) if node.stage in (*BY_SIZE, *TRAINING) else None
    return dataclasses.replace(node, work=Work(model, amount, parameters))
