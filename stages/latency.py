"""Latency of a backend's engines: Runtime (the engine alone) and End2End (preprocessing, engine, NMS).

All engines of a backend are timed in one process, alternately, on pinned CPUs. End2End starts from a decoded image and
ends with detections in the pixels of that image; reading and decoding the file is left out.

``latency.json``::

    {"schema_version": 1, "backend", "threads", "affinity": [cpu, ...], "batch", "warmup", "rounds", "nms_in": "python",
     "engines": {"fp32": {"cold_start": {"load_s", "first_inference_s"},
                          "runtime": {"count", "mean_ms", "median_ms", "p50_ms", "p90_ms", ...}, "end2end": {...}},
                 "int8": {...}},
     "speedup": {"runtime": {"median", "rounds": [...]}, "end2end": {...}}}     # INT8 against FP32; absent without both

Times are per run, that is per batch. ``samples.npz`` holds the raw seconds, float64, ``fp32.runtime`` and so on, with
the round of each sample in ``fp32.runtime.round``.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stages import backends
from stages.backends.base import Array, Session, feeds_for
from stages.contract import Engine, ImageList, LatencyResult, Precision, StageContext, hash_files
from stages.detection.images import Image, read_image
from stages.detection.nms import multiclass_nms
from stages.detection.preprocess import Preprocessor
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import ConfigError, DataError, StageError
from stages.options import LatencyOptions, NmsOptions
from stages.timing import Clock, Plan, Task, measure, pinned, speedup, summary

SCHEMA_VERSION = 1
RUNTIME, END2END = "runtime", "end2end"


@dataclass(frozen=True)
class LatencyInputs:
    """The engines of one backend (FP32, INT8), and the images End2End is timed on."""

    engines: list[Engine]
    images: ImageList


class Latency:
    """The stage: time all engines of one backend against each other."""

    name: ClassVar[str] = "latency"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    Options: ClassVar[type] = LatencyOptions
    Inputs: ClassVar[type] = LatencyInputs
    Output: ClassVar[type[LatencyResult]] = LatencyResult

    def __init__(self, options: LatencyOptions, clock: Clock = time.perf_counter_ns) -> None:
        problems = [
            f"latency.{name} is {value}; it must be at least {least}"
            for name, value, least in (
                ("warmup", options.warmup, 0),
                ("rounds", options.rounds, 1),
                ("runs", options.runs, options.rounds),
                ("images", options.images, 1),
            )
            if value < least
        ]
        if options.max_seconds is not None and options.max_seconds <= 0:
            problems.append(f"latency.max_seconds is {options.max_seconds}; it must be above 0, or null")
        if problems:
            raise ConfigError(problems)
        self.options = options
        self.clock = clock

    def run(self, inputs: LatencyInputs, context: StageContext) -> LatencyResult:
        first = _check(inputs.engines)
        threads = int(first.options.get("threads", 1))
        images = _read_images(inputs.images, max(self.options.images, first.batch))
        tasks: dict[tuple[str, str], Task] = {}
        cold: dict[str, dict[str, float]] = {}
        with ExitStack() as stack:
            try:
                cpus = stack.enter_context(pinned(threads))
            except ValueError as error:
                raise ConfigError([f"backend.{first.backend}.threads: {error}; set it lower"]) from error
            if not cpus:
                context.warn("this operating system cannot pin a process to CPUs; the timings drift more")
            _limit_opencv(threads)
            backend = backends.get(first.backend)
            backend.prepare()
            for engine in inputs.engines:
                start = self.clock()
                session = stack.enter_context(backend.open(engine))
                loaded = self.clock()
                pair = _Pair(engine, session, images, self.options.nms)
                ready = self.clock()
                pair.runtime(0)
                load, infer = (loaded - start) * 1e-9, (self.clock() - ready) * 1e-9
                cold[str(engine.precision)] = {"load_s": load, "first_inference_s": infer}
                for mode, run in ((RUNTIME, pair.runtime), (END2END, pair.end2end)):
                    tasks[str(engine.precision), mode] = Task(f"{engine.precision}.{mode}", run)
            plan = Plan(self.options.warmup, self.options.runs, self.options.rounds, self.options.max_seconds)
            # Engine next to engine, mode after mode: what is compared is timed close together.
            ordered = [task for mode in (RUNTIME, END2END) for (_, m), task in tasks.items() if m == mode]
            measure(ordered, plan, self.clock, lambda done, total: context.progress(done, total))
        if "paddle" in sys.modules:
            raise StageError(
                "Paddle was imported in the process that times; its threads spoil the timings: report this"
            )
        result = self._result(inputs.engines, tasks, cold, cpus)
        (context.out / "latency.json").write_text(json.dumps(result, indent=2) + "\n")
        _save_samples(context.out / "samples.npz", tasks)
        _emit(result, context)
        return LatencyResult(root=context.out, files=hash_files(context.out), backend=first.backend)

    def _result(
        self,
        engines: list[Engine],
        tasks: dict[tuple[str, str], Task],
        cold: dict[str, dict[str, float]],
        cpus: list[int],
    ) -> dict[str, Any]:
        names = [str(engine.precision) for engine in engines]
        result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "backend": engines[0].backend,
            "threads": int(engines[0].options.get("threads", 1)),
            "affinity": cpus,
            "batch": engines[0].batch,
            "warmup": self.options.warmup,
            "rounds": self.options.rounds,
            "nms_in": "python",
            "engines": {
                name: {"cold_start": cold[name], **{m: summary(tasks[name, m].all()) for m in (RUNTIME, END2END)}}
                for name in names
            },
        }
        base, other = str(Precision.FP32), str(Precision.INT8)
        if base in names and other in names:
            result["speedup"] = {m: speedup(tasks[base, m], tasks[other, m]) for m in (RUNTIME, END2END)}
        return result


class _Pair:
    """The two things that are timed of one engine."""

    def __init__(self, engine: Engine, session: Session, images: list[Image], nms: NmsOptions) -> None:
        self.engine, self.session, self.images, self.nms = engine, session, images, nms
        self.preprocess = Preprocessor(Sidecar.read(engine.path(FILE_NAME)))
        self.feeds = self._feeds(0)[0]

    def runtime(self, i: int) -> list[Array]:
        """The engine alone, on a batch that was preprocessed before."""
        return self.session.infer(self.feeds)

    def end2end(self, i: int) -> list[Array]:
        """From decoded images to detections [M, 6] per image: (class, score, x1, y1, x2, y2) in image pixels."""
        feeds, scales = self._feeds(i)
        boxes, scores = self.session.infer(feeds)
        found = []
        for b in range(self.engine.batch):
            detections = multiclass_nms(boxes[b], scores[b], self.nms)
            if not self.engine.scale_factor:  # boxes are in pixels of the network input
                detections[:, 2:] /= scales[b][[1, 0, 1, 0]]
            found.append(detections)
        return found

    def _feeds(self, i: int) -> tuple[dict[str, Array], Array]:
        n, batch = len(self.images), self.engine.batch
        tensors, scales = self.preprocess.batch([self.images[(i * batch + k) % n] for k in range(batch)])
        return feeds_for(self.engine, tensors, scales), scales


def _check(engines: list[Engine]) -> Engine:
    """The first engine, after making sure that all are of one backend and thread count, one per precision."""
    if not engines:
        raise StageError("latency got no engine; build one first (see the failed stages above)")
    different = {
        "backend": {e.backend for e in engines},
        "thread count": {e.options.get("threads", 1) for e in engines},
        "batch size": {e.batch for e in engines},
    }
    for what, values in different.items():
        if len(values) > 1:
            raise StageError(f"the engines differ in {what}, so timing them against each other means nothing")
    if len({e.precision for e in engines}) < len(engines):
        raise StageError("two engines have the same precision; time one per precision")
    return engines[0]


def _read_images(images: ImageList, count: int) -> list[Image]:
    """The first ``count`` images of the list; fewer if it has fewer."""
    listed = json.loads(images.path("images.json").read_text())[:count]
    if not listed:
        raise DataError(f"{images.path('images.json')} lists no image; End2End needs at least one")
    return [read_image(Path(entry["path"])) for entry in listed]


def _limit_opencv(threads: int) -> None:
    import cv2

    cv2.setNumThreads(threads)


def _save_samples(path: Path, tasks: dict[tuple[str, str], Task]) -> None:
    arrays: dict[str, Array] = {}
    for task in tasks.values():
        arrays[task.name] = task.all()
        arrays[f"{task.name}.round"] = np.repeat(np.arange(len(task.samples)), [len(s) for s in task.samples])
    np.savez(path, **arrays)


def _emit(result: dict[str, Any], context: StageContext) -> None:
    prefix = f"latency.{result['backend']}"
    for precision, found in result["engines"].items():
        for name in ("p50_ms", "mean_ms", "p90_ms", "p99_ms"):
            context.metric(f"{prefix}.{precision}.{name}", found[RUNTIME][name])
            context.metric(f"{prefix}.{precision}.end2end.{name}", found[END2END][name])
        context.metric(f"{prefix}.{precision}.load_s", found["cold_start"]["load_s"])
    for mode, ratio in result.get("speedup", {}).items():
        context.metric(f"{prefix}.speedup" if mode == RUNTIME else f"{prefix}.{mode}.speedup", ratio["median"])
