"""A bundle's engine, opened: what it cannot do, or does otherwise than its record says, is told as the bundle's fault.

A runtime's own words, whatever their kind, become one error that names the bundle: nobody who runs one can act on more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np

from stages.artifacts import Engine
from stages.backends.base import Array, Feeds
from stages.backends.detector import Detector, open_detector
from stages.detection.inference import ImageRunner
from stages.errors import DetpressError, InputError, UnavailableError
from stages.options.accuracy import NmsOptions


class Runnable(Protocol):
    """An opened bundle, or what one ONNX file says of itself; ``name`` is what messages call it."""

    @property
    def name(self) -> Path: ...

    @property
    def engine(self) -> Engine: ...

    @property
    def nms(self) -> NmsOptions: ...


@contextmanager
def open_engine(bundle: Runnable) -> Iterator[Detector]:
    """The engine on this machine; its ``runner`` gives outputs of the shapes that the record promises.

    Raises:
        InputError: the engine cannot be loaded or run, or has other inputs or outputs than the record says; also later,
            by the runner.
        UnavailableError: the backend cannot run here.
    """
    engine = bundle.engine
    with ExitStack() as stack:
        with _as_fault_of(bundle, "cannot be opened"):
            detector = stack.enter_context(open_detector(engine, bundle.nms))
        sidecar = detector.sidecar
        if list(sidecar.input_size) != engine.input_size:
            raise InputError(f"{_said(bundle)} takes images of {engine.input_size} by bundle.json, and of "
                             f"{list(sidecar.input_size)} by infer_cfg.yml: refused; {_AGAIN}")  # fmt: skip

        if min(engine.input_size) <= 0:
            raise InputError(f"{_said(bundle)} takes images of {engine.input_size}: refused; {_AGAIN}")
        looks = _problem_inside if engine.nms_inside else _problem

        def infer(feeds: Feeds) -> Sequence[Array]:
            with _as_fault_of(bundle, "does not run"):
                found = [np.asarray(output) for output in detector.session.infer(feeds)]
            problem = looks(found, max(1, engine.batch), len(sidecar.labels))
            if problem:
                raise InputError(f"{_said(bundle)} {problem}: refused; {_AGAIN}")
            return found

        yield dataclasses.replace(detector, runner=ImageRunner(engine, sidecar, infer, engine.batch, engine.inside))


_AGAIN = "make the bundle again"


def _said(bundle: Runnable) -> str:
    return f"{bundle.name}: the engine {bundle.engine.main}"


def _problem(outputs: Sequence[Array], batch: int, classes: int) -> str | None:
    """Why outputs are not those of a detector, in words."""
    if len(outputs) != 2 or any(output.dtype.kind not in "fiu" for output in outputs):
        return "gives no boxes and scores"
    boxes, scores = (output.shape for output in outputs)
    wanted = (batch, boxes[1] if len(boxes) > 1 else 0)
    if boxes != (*wanted, 4) or scores != (batch, classes, wanted[1]):
        return f"gives boxes {list(boxes)} and scores {list(scores)}, not those of {batch} image of {classes} classes"
    return None


def _problem_inside(outputs: Sequence[Array], batch: int, classes: int) -> str | None:
    """The same of a detector with NMS in it (`stages/lowering/inside.py`)."""
    if len(outputs) != 4 or any(output.dtype.kind not in "fiu" for output in outputs):
        return "gives no boxes that NMS kept"
    count, boxes, _, labels = outputs
    most = boxes.shape[1] if boxes.ndim > 1 else 0
    shapes = [list(output.shape) for output in outputs]
    if shapes != [[batch, 1], [batch, most, 4], [batch, most], [batch, most]]:
        return f"gives outputs of the shapes {', '.join(map(str, shapes))}, not those of boxes that NMS kept"
    if not ((count >= 0) & (count <= most)).all():
        return f"says that it kept {int(count.max())} of {most} boxes"
    kept = np.arange(most) < count
    if not ((labels >= 0) & (labels < classes))[kept].all():
        return f"finds classes that are none of its {classes}"
    return None


@contextmanager
def _as_fault_of(bundle: Runnable, fails: str) -> Iterator[None]:
    """Tell what a runtime raises as an InputError. What this machine lacks, room among it, stays what it is."""
    try:
        yield
    except (UnavailableError, OSError, MemoryError):
        raise
    except Exception as error:
        text = (
            "; ".join((error.message, *map(str.strip, error.details)))
            if isinstance(error, DetpressError)
            else str(error)
        )
        lines = text.strip().replace(f"{bundle.engine.root}/", "").splitlines() or [type(error).__name__]
        raise InputError(f"{_said(bundle)} {fails} ({lines[0]}); fetch it again, or {_AGAIN}") from error
