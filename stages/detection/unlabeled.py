"""Images without labels as a seeded stream: what compression learns from.

As in ``loader``, step ``s`` of a seed is always the same batch, whatever ran before it.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from stages.artifacts import ExportedModel, ImageList
from stages.detection.images import read_image
from stages.detection.preprocess import Preprocessor, Tensor
from stages.detection.sidecar import Sidecar
from stages.outside import names

CACHE_BYTES = 1 << 29  # of preprocessed images kept in memory; a small set is decoded once


def listed_paths(images: ImageList) -> list[Path]:
    """Absolute paths of the images in a list, in its order."""
    entries = json.loads(images.path("images.json").read_text(encoding="utf-8"))
    return [names.listed_path(entry) for entry in entries]


class UnlabeledImages:
    """Preprocessed images by index, and which of them make up a step's batch.

    Args:
        mirrored: each image counts twice, behind all others once more with left and right exchanged. A teacher that
            sees the same image says what is right for it, so that this suits any classes.
    """

    def __init__(
        self, paths: list[Path], preprocessor: Preprocessor, *, batch: int, seed: int, mirrored: bool = False
    ) -> None:
        self.paths = paths
        self._mirrored = mirrored
        self._preprocessor = preprocessor
        self._batch = batch
        self._seed = seed
        self._order = lru_cache(maxsize=2)(self._shuffled)
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}
        self._room = CACHE_BYTES

    def __len__(self) -> int:
        return len(self.paths) * (2 if self._mirrored else 1)

    def indices(self, step: int) -> list[int]:
        """The images of step ``step`` (from 0): each once per pass, reshuffled in each pass."""
        places = [divmod(step * self._batch + i, len(self)) for i in range(self._batch)]
        return [int(self._order(epoch)[place]) for epoch, place in places]

    def some(self, count: int) -> list[int]:
        """``count`` images (all, if there are fewer), drawn by the seed: to look at a set without reading all of it."""
        return [int(index) for index in self._order(0)[:count]]

    def load(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """(float32 [B, 3, H, W], scale factors float32 [B, 2]) of these images."""
        pairs = [self._one(index) for index in indices]
        return np.stack([image for image, _ in pairs]), np.stack([scale for _, scale in pairs])

    def _one(self, index: int) -> tuple[Tensor, Tensor]:
        if index >= len(self.paths):
            image, scale = self._one(index - len(self.paths))
            return image[:, :, ::-1], scale
        if index in self._kept:
            return self._kept[index]
        pair = self._preprocessor(read_image(self.paths[index]))
        if pair[0].nbytes <= self._room:
            self._kept[index] = pair
            self._room -= pair[0].nbytes
        return pair

    def _shuffled(self, epoch: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self._seed, epoch]).permutation(len(self))


def images_for(
    model: ExportedModel, paths: list[Path], *, batch: int, seed: int, mirrored: bool = False
) -> UnlabeledImages:
    """These images, as ``model`` wants them."""
    preprocess = Preprocessor(Sidecar.read(model.path("infer_cfg.yml")))
    return UnlabeledImages(paths, preprocess, batch=batch, seed=seed, mirrored=mirrored)
