"""A bundle's engine, opened: what it cannot do, or does otherwise than its record says, is told as the bundle's fault.

A runtime's own words, whatever their kind, become one error that names the bundle: nobody who runs one can act on more.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from stages.backends.base import Array, Feeds
from stages.backends.detector import Detector, open_detector
from stages.bundle.contents import ENGINE, Opened
from stages.detection.inference import ImageRunner
from stages.errors import DetpressError, InputError, UnavailableError


@contextmanager
def open_engine(bundle: Opened) -> Iterator[Detector]:
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

        def infer(feeds: Feeds) -> Sequence[Array]:
            with _as_fault_of(bundle, "does not run"):
                found = [np.asarray(output) for output in detector.session.infer(feeds)]
            if problem := _problem(found, max(1, engine.batch), len(sidecar.labels)):
                raise InputError(f"{_said(bundle)} {problem}: refused; {_AGAIN}")
            return found

        yield dataclasses.replace(detector, runner=ImageRunner(engine, sidecar, infer, engine.batch))


_AGAIN = "make the bundle again"


def _said(bundle: Opened) -> str:
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


@contextmanager
def _as_fault_of(bundle: Opened, fails: str) -> Iterator[None]:
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
        lines = text.strip().replace(f"{bundle.root / ENGINE}/", "").splitlines() or [type(error).__name__]
        raise InputError(f"{_said(bundle)} {fails} ({lines[0]}); fetch it again, or {_AGAIN}") from error
