"""The FP32 model as the teacher: it runs in Paddle Inference, apart from the student, and its outputs are fed."""

from __future__ import annotations

from collections.abc import Sequence
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


class Teacher:
    """Batches of images with the FP32 model's outputs at the distilled nodes. One thread at a time may ask it."""

    def __init__(
        self, program: Program, nodes: Sequence[str], model: ExportedModel, folder: Path, threads: int
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        program.prune(nodes).save(folder / "model")
        self._predictor = Predictor(folder / "model.pdmodel", folder / "model.pdiparams", threads=threads, onednn=True)
        self._nodes = list(nodes)
        self._input = model.image_input
        self._kept: dict[tuple[int, int], list[Array]] = {}
        self._room = CACHE_BYTES

    def feeds(self, images: UnlabeledImages, indices: Sequence[int]) -> Feeds:
        """What a program with ``attach_loss`` is fed with for these images of a set."""
        image, _ = images.load(list(indices))
        rows = {i: self._kept[id(images), i] for i in indices if (id(images), i) in self._kept}
        missing = [k for k, i in enumerate(indices) if i not in rows]
        if missing:
            outputs = self._predictor.run({self._input: image[missing]})
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
