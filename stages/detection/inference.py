"""From images to what a network says of them: one loop for engines, for the agreement's reference and for scores.

What runs the network is a function, feeds -> [boxes, scores]; whether it is a backend's session or a Paddle program is
its owner's matter. Preprocessing, filling up a batch, and boxes in pixels of the image are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from stages.detection.images import Image, read_image
from stages.detection.loader import prefetch
from stages.detection.nms import multiclass_nms
from stages.detection.preprocess import Pixels, Preprocessor
from stages.detection.sidecar import Sidecar
from stages.errors import StageError
from stages.options.accuracy import NmsOptions
from stages.options.export import Inside

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
Infer = Callable[[Mapping[str, Array]], Sequence[Array]]

AHEAD = 3  # batches that are read and preprocessed ahead of the network


class ModelInputs(Protocol):
    """What a network is fed with; engines and exported models say so."""

    @property
    def image_input(self) -> str: ...

    @property
    def scale_input(self) -> str: ...

    @property
    def scale_factor(self) -> bool:
        """Whether it takes scale factors, and then gives boxes in pixels of the image, not of its input."""


def feeds_for(model: ModelInputs, images: Array, scale_factor: Array) -> dict[str, Array]:
    """The feeds of a network from a preprocessed batch.

    Args:
        images: float32 [batch, 3, H, W], or uint8 [batch, H, W, 3] of a network that normalises them itself.
        scale_factor: float32 [batch, 2] as (scale_y, scale_x); left out if the network has no such input.
    """
    dtype = np.uint8 if images.dtype == np.uint8 else np.float32
    feeds: dict[str, Array] = {model.image_input: np.ascontiguousarray(images, dtype=dtype)}
    if model.scale_factor:
        feeds[model.scale_input] = np.ascontiguousarray(scale_factor, dtype=np.float32)
    return feeds


class Seen(Protocol):
    """What a network says of one image."""

    @property
    def image(self) -> Image: ...

    @property
    def finite(self) -> bool:
        """Whether every value is a number; the others have no meaningful `detections`."""

    @property
    def classes(self) -> int | None:
        """How many classes it scores, if that can be seen."""

    def detections(self, nms: NmsOptions) -> Floats:
        """float32 [M, 6] as (class index, score, x1, y1, x2, y2) in pixels of the image, best first."""


@dataclass(frozen=True)
class RawOutputs:
    """What a network says of one image, before NMS. Views of the run's arrays: copy what is kept for long."""

    image: Image
    boxes: Floats
    """[N, 4] as (x1, y1, x2, y2) in pixels of the image."""
    scores: Floats
    """[classes, N]."""

    @property
    def finite(self) -> bool:
        """Whether every value is a number; the others have no meaningful `detections`."""
        return bool(np.isfinite(self.boxes).all() and np.isfinite(self.scores).all())

    @property
    def classes(self) -> int | None:
        return len(self.scores)

    def detections(self, nms: NmsOptions) -> Floats:
        """[M, 6], as `multiclass_nms` gives them."""
        return multiclass_nms(self.boxes, self.scores, nms)


@dataclass(frozen=True)
class KeptOutputs:
    """What a network with NMS in it says of one image."""

    image: Image
    found: Floats
    """[M, 6], as of `Seen.detections`."""
    thresholds: NmsOptions

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.found).all())

    @property
    def classes(self) -> int | None:
        return None

    def detections(self, nms: NmsOptions) -> Floats:
        """Raises StageError for other thresholds than those inside: what they dropped cannot be had back."""
        if nms != self.thresholds:
            raise StageError(
                f"the engine has NMS inside, with {self.thresholds}; it cannot be asked for {nms}: build it with "
                "export.nms=outside"
            )
        return self.found


class ImageRunner:
    """A network that is given images.

    Args:
        model: what it is fed with.
        sidecar: how its images are preprocessed.
        infer: runs it once: feeds -> [boxes [batch, N, 4], scores [batch, classes, N]].
        batch: images of a run; a run of fewer is filled up with its last image.
        inside: what the network does itself (`stages/lowering/inside.py` says what it then takes and gives).
    """

    def __init__(
        self, model: ModelInputs, sidecar: Sidecar, infer: Infer, batch: int, inside: Inside | None = None
    ) -> None:
        self.model, self.batch = model, max(1, batch)
        self._nms = None if inside is None else inside.nms
        self._preprocess = Pixels(sidecar) if inside is not None and inside.preprocess else Preprocessor(sidecar)
        self._infer = infer

    def feeds(self, images: Sequence[Image]) -> tuple[dict[str, Array], Floats]:
        """(feeds of one run on up to ``batch`` BGR images, scale factors [batch, 2] as (y, x))."""
        fill = [images[-1]] * (self.batch - len(images))
        tensors, scales = self._preprocess.batch([*images, *fill])
        return feeds_for(self.model, tensors, scales), scales

    def run(self, images: Sequence[Image]) -> list[Seen]:
        """Run once, on up to ``batch`` BGR images; an entry for each."""
        return self._run(images, *self.feeds(images))

    def over(
        self, paths: Sequence[Path], progress: Callable[[int], None] | None = None, *, together: int | None = None
    ) -> Generator[Seen, None, None]:
        """Run over the images in order; the next batches are read while one runs.

        Args:
            progress: told after each run, when its outputs have been taken, how many images are done.
            together: images of a run, the rest of the batch being filled up; ``batch`` by default. With 1, what is
                found in an image does not hang on which images stand beside it.

        Raises:
            DataError: an image cannot be read; those before it have come.
        """
        size = self.batch if together is None else together
        groups = [paths[i : i + size] for i in range(0, len(paths), size)]

        def prepared(number: int) -> tuple[list[Image], dict[str, Array], Floats]:
            images = [read_image(path) for path in groups[number]]
            return images, *self.feeds(images)

        done = 0
        with closing(prefetch(prepared, 0, len(groups), AHEAD)) as batches:
            for images, feeds, scales in batches:
                yield from self._run(images, feeds, scales)
                done += len(images)
                if progress is not None:
                    progress(done)

    def kept(self, outputs: Sequence[Array], number: int, scales: Floats) -> Floats:
        """Detections of one image of a batch, of a network with NMS in it; see `Seen.detections`."""
        count = int(outputs[0][number, 0])
        boxes, scores, labels = (out[number, :count] for out in outputs[1:])
        if not self.model.scale_factor:
            boxes = boxes / scales[number][[1, 0, 1, 0]]
        return np.concatenate([labels[:, None], scores[:, None], boxes], axis=1, dtype=np.float32)

    def _run(self, images: Sequence[Image], feeds: Mapping[str, Array], scales: Floats) -> list[Seen]:
        outputs = self._infer(feeds)
        if self._nms is not None:
            return [KeptOutputs(image, self.kept(outputs, i, scales), self._nms) for i, image in enumerate(images)]
        boxes, scores = (np.asarray(out, np.float32) for out in outputs)
        if not self.model.scale_factor:
            with np.errstate(over="ignore", invalid="ignore"):  # `RawOutputs.finite` tells
                boxes = boxes[: len(images)] / scales[: len(images), None, [1, 0, 1, 0]]
        return [RawOutputs(image, boxes[i], scores[i]) for i, image in enumerate(images)]
