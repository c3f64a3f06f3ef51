"""An opened engine from image to detections: what a bundle is checked with and what `detpress predict` runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages import backends
from stages.artifacts import Engine
from stages.backends.base import Session, Unavailable, feeds_for
from stages.detection.images import Image
from stages.detection.nms import multiclass_nms
from stages.detection.preprocess import Preprocessor
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import UnavailableError
from stages.options.accuracy import NmsOptions

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Detector:
    """Preprocessing, engine and NMS in one; made by `open_detector`."""

    engine: Engine
    sidecar: Sidecar
    nms: NmsOptions
    session: Session
    preprocess: Preprocessor

    def __call__(self, images: Sequence[Image]) -> list[Floats]:
        """Detections of up to ``engine.batch`` BGR images: float32 [M, 6] each, as `multiclass_nms` gives them."""
        fill = [images[-1]] * (self.engine.batch - len(images))
        batch, scales = self.preprocess.batch([*images, *fill])
        boxes, scores = (np.asarray(out, np.float32) for out in self.session.infer(self.feeds(batch, scales)))
        found: list[Floats] = []
        for i in range(len(images)):
            own = boxes[i] if self.engine.scale_factor else boxes[i] / scales[i][[1, 0, 1, 0]]
            found.append(multiclass_nms(own, scores[i], self.nms))
        return found

    def feeds(self, batch: Floats, scales: Floats) -> dict[str, npt.NDArray[Any]]:
        """The engine's inputs of a preprocessed batch."""
        return feeds_for(self.engine, batch, scales)

    def as_json(self, detections: Floats, threshold: float = 0.0) -> list[dict[str, Any]]:
        """Detections as ``{"class", "label", "score", "box": [x1, y1, x2, y2]}``, best first, boxes in pixels."""
        return [
            {
                "class": int(row[0]),
                "label": self.sidecar.labels[int(row[0])],
                "score": round(float(row[1]), 6),
                "box": [round(float(v), 3) for v in row[2:]],
            }
            for row in detections
            if row[1] >= threshold
        ]


@contextmanager
def open_detector(engine: Engine, nms: NmsOptions) -> Iterator[Detector]:
    """Open an engine with its backend.

    Raises:
        UnavailableError: the backend cannot run here.
    """
    backend = backends.get(engine.backend)
    state = backend.availability()
    if isinstance(state, Unavailable):
        raise UnavailableError(f"backend {engine.backend} is unavailable: {state}")
    sidecar = Sidecar.read(engine.path(FILE_NAME))
    backend.prepare()
    with backend.open(engine) as session:
        yield Detector(engine, sidecar, nms, session, Preprocessor(sidecar))
