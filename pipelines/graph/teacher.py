"""The node of the graph that exports a larger model for the student to learn from (``compression.teacher``)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines.config.models import named_model
from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.runner import Node, Ref
from stages.artifacts import Checkpoint, Precision, sha256_of
from stages.options.export import ExportOptions


def teacher_node(config: PipelineConfig, images: Ref, threads: int) -> Node:
    """The export, at the student's input size and with the classes that the teacher was trained with."""
    teacher, weights = config.compression.teacher, config.compression.teacher_weights
    assert teacher is not None and weights is not None  # both were checked
    model = dataclasses.replace(
        named_model(teacher),
        input_size=config.model.input_size,
        labels=config.compression.teacher_labels or config.model.labels,
    )
    options, origins = stage_options(
        ExportOptions,
        config,
        "export",
        model=Setting("compression.teacher", model),
        precision=Precision.FP32.value,
    )
    path = Path(weights).resolve()
    return Node(
        id=ids.TEACHER,
        stage="export",
        options=options,
        origins=origins,
        inputs={
            "model": Checkpoint(root=path.parent, files={path.name: sha256_of(path)}, weights=path.name),
            "images": images,
        },
        threads=threads,
        precision=Precision.FP32.value,
    )
