"""One opened engine as two things to time: Runtime (the engine alone) and End2End (preprocessing, engine, NMS)."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stages import backends
from stages.artifacts import Engine
from stages.backends.base import Array, GpuSession, Session
from stages.detection.images import Image, read_image
from stages.detection.inference import ImageRunner
from stages.detection.nms import multiclass_nms
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import StageError
from stages.latency.gpu import gpu_probe
from stages.latency.machine import UsageMeter, gpu_meter, memory_mb
from stages.latency.timing import Clock, Task
from stages.options.accuracy import NmsOptions

RUNTIME, END2END = "runtime", "end2end"
PARTS: tuple[str, ...] = ("preprocess_ms", "engine_ms", "nms_ms")
SPLIT_RUNS = 50
"""How often a GPU's copies and work are timed one by one, after everything else."""


@dataclass(frozen=True)
class Setup:
    """What a process needs to time one engine: paths of images, NMS settings, the CPUs it is pinned to (or none)."""

    engine: Engine
    images: list[str]
    nms: NmsOptions
    threads: int
    cpus: list[int] = field(default_factory=list)


@dataclass
class TimedEngine:
    """An opened engine: a task per mode, and what else there is to tell of it."""

    tasks: dict[str, Task]
    cold_start: dict[str, float]
    pair: TimedModes
    before_mb: float | None

    def task(self, mode: str) -> Task:
        return self.tasks[mode]

    def closing(self) -> dict[str, Any]:
        """Told after the last run: the End2End's parts (medians), and memory."""
        memory = memory_mb()
        peak, before = memory["peak"], self.before_mb
        return {
            "parts": self.pair.medians() | self.pair.split(),
            "memory": {
                "peak_mb": peak,
                "engine_mb": None if peak is None or before is None else max(0.0, peak - before),
            },
        }


@contextmanager
def open_timed_engine(
    setup: Setup, clock: Clock = time.perf_counter_ns, watched: bool = True, pin: bool = False
) -> Iterator[TimedEngine]:
    """Open an engine in this process and run it once; ``watched``: see `stages/latency/machine.py`.

    ``pin``: keep the process on ``setup.cpus``, from after the import of the runtime on.
    """
    import cv2

    cv2.setNumThreads(setup.threads)
    images = [read_image(Path(path)) for path in setup.images]
    backend = backends.get(setup.engine.backend)
    start = clock()
    backend.prepare()
    imported = clock()
    if pin and setup.cpus:
        # Not before the import: ONNX Runtime reads the processor's make-up then, and one that sees a single CPU ran
        # INT8 convolutions 1.3 times slower. Not after loading either: threads keep the CPUs they were started on.
        os.sched_setaffinity(0, setup.cpus)
    before = memory_mb()["now"]
    with backend.open(setup.engine) as session:
        loaded = clock()
        pair = TimedModes(setup.engine, session, images, setup.nms, clock)
        ready = clock()
        pair.runtime(0)
        cold = {
            "import_s": (imported - start) * 1e-9,
            "load_s": (loaded - imported) * 1e-9,
            "first_inference_s": (clock() - ready) * 1e-9,
        }
        if "paddle" in sys.modules and not getattr(backend, "uses_paddle", False):
            raise StageError(
                "Paddle was imported in the process that times; its threads spoil the timings: report this"
            )
        on_gpu = isinstance(session, GpuSession)
        meter, probe = (gpu_meter(), gpu_probe()) if on_gpu else (None, None)
        tasks = {
            mode: Task(mode, run, clock, UsageMeter(setup.cpus, meter=meter, gpu=probe) if watched else None)
            for mode, run in ((RUNTIME, pair.runtime), (END2END, pair.end2end))
        }
        yield TimedEngine(tasks, cold, pair, before)


class TimedModes:
    """The two things that are timed of one engine."""

    def __init__(
        self, engine: Engine, session: Session, images: Sequence[Image], nms: NmsOptions, clock: Clock
    ) -> None:
        self.engine, self.session, self.images, self.nms = engine, session, images, nms
        sidecar = Sidecar.read(engine.path(FILE_NAME))
        self._runner = ImageRunner(engine, sidecar, session.infer, engine.batch, engine.inside)
        self.feeds = self._feeds(0)[0]
        self._clock = clock
        self._parts: list[tuple[int, int, int]] = []

    def runtime(self, i: int) -> list[Array]:
        """The engine alone, on a batch that was preprocessed before."""
        return self.session.infer(self.feeds)

    def end2end(self, i: int) -> list[Array]:
        """From decoded images to detections [M, 6] per image: (class, score, x1, y1, x2, y2) in image pixels."""
        start = self._clock()
        feeds, scales = self._feeds(i)
        fed = self._clock()
        outputs = self.session.infer(feeds)
        ran = self._clock()
        found = []
        for b in range(self.engine.batch):
            if self.engine.nms_inside:
                found.append(self._runner.kept(outputs, b, scales))
                continue
            boxes, scores = outputs
            detections = multiclass_nms(boxes[b], scores[b], self.nms)
            if not self.engine.scale_factor:  # boxes are in pixels of the network input
                detections[:, 2:] /= scales[b][[1, 0, 1, 0]]
            found.append(detections)
        self._parts.append((fed - start, ran - fed, self._clock() - ran))
        return found

    def medians(self) -> dict[str, float | None]:
        """Medians of the parts of End2End, in milliseconds (the runs of the warm-up are among them)."""
        if not self._parts:
            return dict.fromkeys(PARTS)
        return dict(zip(PARTS, (np.median(self._parts, axis=0) * 1e-6).tolist(), strict=True))

    def split(self) -> dict[str, float | None]:
        """Medians of a GPU's copies and work, in milliseconds; empty for a session that has no such parts.

        Each part waits for the GPU, so that their sum is somewhat more than the Runtime, which waits once.
        """
        if not isinstance(self.session, GpuSession):
            return {}
        took: dict[str, list[int]] = {}
        for _ in range(SPLIT_RUNS):
            for name, call in self.session.steps(self.feeds):
                start = self._clock()
                call()
                took.setdefault(f"{name}_ms", []).append(self._clock() - start)
        return {name: float(np.median(times)) * 1e-6 for name, times in took.items()}

    def _feeds(self, i: int) -> tuple[dict[str, Array], Array]:
        n, batch = len(self.images), self.engine.batch
        return self._runner.feeds([self.images[(i * batch + k) % n] for k in range(batch)])
