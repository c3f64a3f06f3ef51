"""A larger model as the teacher (``compression.teacher``): which of its outputs stand for which of the student's.

Features of the neck have other channels, which projections take care of (``projection``); what else has to agree is
asked in ``stages/detection/teaching.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stages.artifacts import ExportedModel
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.detection.teaching import CHOOSE, KEY, Side, fitting_classes
from stages.errors import ConfigError
from stages.paddle.compression import anatomy
from stages.paddle.compression.losses import distilled_nodes
from stages.paddle.compression.teacher import Fit, Teacher
from stages.paddle.runtime.program import Program, fresh_scope, load_program


def larger_teacher(
    model: ExportedModel,
    student: ExportedModel,
    program: Program,
    nodes: Sequence[str],
    loss: str,
    folder: Path,
    threads: int,
) -> Teacher:
    """The teacher ``model`` for the student's ``program``, compared at its ``nodes``.

    Raises:
        ConfigError: it does not fit, in one line.
    """
    heads = len(nodes) // 3 * 2 if loss == "features" else len(nodes)
    with fresh_scope() as scope:  # its parameters are called like the student's
        loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
        own = anatomy.fold_batch_norm(loaded, scope)
        own.set_shapes(anatomy.open_batch(model))
        theirs = distilled_nodes(own, loss)
        if len(theirs) != len(nodes):
            raise ConfigError([f"{KEY}: it has {len(theirs)} outputs to learn from, the model {len(nodes)}; {CHOOSE}"])
        classes = fitting_classes(_side(model, own, theirs[:heads]), _side(student, program, nodes[:heads]))
        shapes = {node: own.shape(other) for node, other in zip(nodes, theirs, strict=True)}
        for node in nodes[0:heads:2]:
            shapes[node][1] = len(classes)
        fit = Fit(list(nodes), shapes, heads, classes, student.image_input)
        return Teacher(own, theirs, model, folder, threads, fit)


def _side(model: ExportedModel, program: Program, nodes: Sequence[str]) -> Side:
    return Side(Sidecar.read(model.path(FILE_NAME)), [program.shape(node) for node in nodes])
