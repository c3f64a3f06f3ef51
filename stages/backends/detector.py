"""An opened engine from images to detections: for scores, for agreement, for bundles and for `detpress predict`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stages import backends
from stages.artifacts import Engine
from stages.backends.base import Session, Unavailable
from stages.detection.inference import ImageRunner
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import StageError, UnavailableError
from stages.options.accuracy import NmsOptions

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Detector:
    """An opened engine and what belongs to it; made by `open_detector`. Its ``runner`` takes images."""

    engine: Engine
    sidecar: Sidecar
    nms: NmsOptions
    session: Session
    runner: ImageRunner

    def as_json(self, detections: Floats, threshold: float = 0.0) -> list[dict[str, Any]]:
        """Detections as ``{"class", "label", "score", "box": [x1, y1, x2, y2]}``, best first, boxes in pixels.

        Raises:
            StageError: the engine found something of a class that has no name.
        """
        names = self.sidecar.labels
        if len(detections) and not 0 <= (largest := int(detections[:, 0].max())) < len(names):
            raise StageError(f"the engine finds class {largest}, its {FILE_NAME} names {len(names)}; export it again")
        return [
            {
                "class": int(row[0]),
                "label": names[int(row[0])],
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
        yield Detector(
            engine, sidecar, nms, session, ImageRunner(engine, sidecar, session.infer, engine.batch, engine.inside)
        )
