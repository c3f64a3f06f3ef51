"""The FP32 model as the teacher, or a larger one: it runs in Paddle Inference, apart from the student, and its outputs
are fed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.artifacts import ExportedModel
from stages.detection.unlabeled import UnlabeledImages
from stages.paddle.compression.losses import TEACHER
from stages.paddle.runtime.infer import Predictor
from stages.paddle.runtime.program import Program

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

CACHE_BYTES = 1 << 29  # of outputs kept in memory: later passes over a small set need no teacher


@dataclass(frozen=True)
class Fit:
    """How the outputs of a larger teacher stand for the student's."""

    nodes: list[str]
    """The student's, in the order of the teacher's."""
    shapes: dict[str, list[int]]
    """The student's node -> the shape of what the teacher gives for it, -1 for the open batch."""
    heads: int
    """How many nodes are logits, classes and boxes in turns; those behind them are features."""
    classes: list[int]
    """The teacher's number of each of the student's classes."""
    image_input: str
    """What the student's input is called."""


class Teacher:
    """Batches of images with the teacher's outputs at the distilled nodes. One thread at a time may ask it.

    Args:
        nodes: where ``program``, the teacher, is compared.
        fit: of a larger teacher; ``None``: ``model`` is the student's own FP32.
    """

    def __init__(
        self,
        program: Program,
        nodes: Sequence[str],
        model: ExportedModel,
        folder: Path,
        threads: int,
        fit: Fit | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program.prune(nodes).save(folder / "model")
        self._predictor = Predictor(folder / "model.pdmodel", folder / "model.pdiparams", threads=threads, onednn=True)
        self.fit = fit
        self._nodes = list(nodes) if fit is None else fit.nodes
        self._own_input = model.image_input
        self._input = model.image_input if fit is None else fit.image_input
        self._kept: dict[tuple[int, int], list[Array]] = {}
        self._room = CACHE_BYTES

    def feeds(self, images: UnlabeledImages, indices: Sequence[int]) -> Feeds:
        """What a program with ``attach_loss`` is fed with for these images of a set."""
        image, _ = images.load(list(indices))
        rows = {i: self._kept[id(images), i] for i in indices if (id(images), i) in self._kept}
        missing = [k for k, i in enumerate(indices) if i not in rows]
        if missing:
            outputs = self._outputs(image[missing])
            for place, k in enumerate(missing):
                row = [output[place] for output in outputs]
                rows[indices[k]] = row
                size = sum(part.nbytes for part in row)
                if size <= self._room and (id(images), indices[k]) not in self._kept:
                    self._kept[id(images), indices[k]] = [part.copy() for part in row]
                    self._room -= size
        feeds: Feeds = {self._input: image}
        for j, node in enumerate(self._nodes):
            feeds[TEACHER + node] = np.stack([rows[i][j] for i in indices])
        return feeds

    def _outputs(self, image: Array) -> list[Array]:
        """At each node, its classes in the student's order."""
        outputs = self._predictor.run({self._own_input: image})
        if self.fit is not None:
            for j in range(0, self.fit.heads, 2):
                outputs[j] = outputs[j][:, self.fit.classes]
        return outputs
