"""Throughput of a backend's engines: images a second with several inferences at once on all CPUs, the engine alone.

Each engine has a process of its own; they have turns, the others asleep, and every number has its verdict as in stage
``latency``. A batch is as large as the exported model has it.

``throughput.json``::

    {"schema_version": 1, "backend", "affinity": [cpu, ...], "batch",
     "not_offered": why there is nothing else; null,
     "budget_ms": of the 99th percentile of a request's latency, "budget_from": a sentence on where it is from,
     "engines": {"fp32": {"tried": [{"streams", "threads", "images_per_s", "p50_ms", "p99_ms", "requests"}],
                          "offline": {"streams", "threads", "images_per_s", "rounds_images_per_s": [...], "requests",
                                      "p50_ms", "p90_ms", "p99_ms", "mean_ms", "window": requests of a sample,
                                      "validity": of the images a second, see latency/validity.py,
                                      "p99_validity": "valid" or "invalid: why"},
                          "multi_stream": as "offline", and "within": whether its p99 is within the budget;
                                          null where no shape stays within it,
                          "server": as "multi_stream", and "arriving_per_s": requests, at random times,
                          "memory": {"peak_mb"}},
                 "int8": {...}},
     "over_fp32": {variant: {scenario: how many times as many images a second, see latency/ratio.py}},
     "over_best_float": {variant: {scenario: the same, with "against"}}}

The ratio of "server" is that of the rates that the service times of each round allow (queueing.py); its interval holds
the ratio of the rates that were held too.

``samples.npz`` holds the seconds of each window, ``fp32.offline``, and of each request, ``fp32.offline.latency``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from stages import backends
from stages.artifacts import Engine, ImageList, ThroughputResult, hash_files
from stages.backends.base import Streaming
from stages.contract import StageContext
from stages.errors import ConfigError
from stages.latency.latency import check_engines, first_images, opened_engines
from stages.latency.timed_engine import Setup
from stages.latency.timing import choose_cpus
from stages.latency.validity import Limits
from stages.numerics.variants import FP32
from stages.options.check import check_options
from stages.options.throughput import ThroughputOptions, check_server
from stages.outside.files import put_text
from stages.processes import cores
from stages.throughput import content
from stages.throughput.engine_process import started
from stages.throughput.grid import Shape, fitting, shapes
from stages.throughput.scenarios import (
    MULTI_STREAM,
    OFFLINE,
    SCENARIOS,
    SERVER,
    Loaded,
    Scenarios,
    Timing,
    Tried,
)

SCHEMA_VERSION = 1
ONE_AT_A_TIME = "detpress runs one inference at a time on it"
SESSION_SIZE = 3
"""Times the files of an engine: what a session of it takes at most, its weights as they are and packed for kernels."""
_PHASES = ("search", *SCENARIOS)

Launch = Callable[[list[Setup], Path], AbstractContextManager[Sequence[Loaded]]]
"""Starts engines, for the length of a ``with``; the folder is for files that nobody needs afterwards."""


@dataclass(frozen=True)
class ThroughputInputs:
    """The engines of one backend, and images to feed them with."""

    engines: list[Engine]
    images: ImageList


class Throughput:
    """The stage: load all engines of one backend, in turns."""

    name: ClassVar[str] = "throughput"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    Options: ClassVar[type] = ThroughputOptions
    Inputs: ClassVar[type] = ThroughputInputs
    Output: ClassVar[type[ThroughputResult]] = ThroughputResult

    def __init__(self, options: ThroughputOptions, launch: Launch = started) -> None:
        problems = [*map(str, check_options(options, "latency.server")), *check_server(options)]
        if problems:
            raise ConfigError(problems)
        self.options = options
        self.launch = launch

    def run(self, inputs: ThroughputInputs, context: StageContext) -> ThroughputResult:
        o = self.options
        opened = opened_engines(inputs.engines, o.variants)
        first = check_engines(opened, [])
        result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "backend": first.backend,
            "affinity": [],
            "batch": first.batch,
            "not_offered": why_not(first),
            "budget_ms": None,
            "budget_from": "",
            "engines": {},
            "over_fp32": {},
            "over_best_float": {},
        }
        if result["not_offered"]:
            context.info(f"{first.backend}: no throughput; {result['not_offered']}")
        else:
            result |= self._measured(opened, inputs.images, context)
            content.emit(result, context)
        put_text(context.out / "throughput.json", json.dumps(result, indent=2) + "\n")
        return ThroughputResult(
            root=context.out, files=hash_files(context.out), backend=first.backend, disturbed=content.disturbed(result)
        )

    @staticmethod
    def objection(result: ThroughputResult, options: ThroughputOptions) -> str:
        """Why a stored result is not taken although its key is right; empty if nothing speaks against it."""
        if not result.disturbed:
            return ""
        more = f" (and {len(result.disturbed) - 1} more)" if len(result.disturbed) > 1 else ""
        return f"the timing was disturbed: {result.disturbed[0]}{more}"

    def _measured(self, opened: list[Engine], listed: ImageList, context: StageContext) -> dict[str, Any]:
        o, first = self.options, opened[0]
        assert o.cpus is not None
        threads = int(first.options.get("threads", 1))
        try:
            cpus = choose_cpus(max(o.cpus, threads))
        except ValueError as error:
            raise ConfigError([f"latency.server.cpus: {error}; set it lower"]) from error
        if not cpus:
            context.warn("this operating system cannot pin a process to CPUs; the timings drift more")
        images = first_images(listed, first.batch)
        setups = [Setup(engine, images, o.nms, threads, cpus) for engine in opened]
        names = [engine.precision for engine in opened]
        with tempfile.TemporaryDirectory() as scratch, self.launch(setups, Path(scratch)) as engines:
            by_name = dict(zip(names, engines, strict=True))
            single = Shape(1, threads)
            scenarios = Scenarios(by_name, o, self._shapes(opened, single, context), _told_to(context))
            tried = scenarios.search()
            budget, source = self._budget(tried, single)
            timings = {OFFLINE: scenarios.offline(tried)}
            within = scenarios.multi_stream(tried, budget, timings[OFFLINE])
            if within is not None:
                timings[MULTI_STREAM] = within
                if (arrived := scenarios.server(within, budget)) is not None:
                    timings[SERVER] = arrived
            memory = {name: engine.closing() for name, engine in by_name.items()}
        _save_samples(context.out / "samples.npz", timings)
        bounds = Limits(o.max_foreign, o.max_drift)
        found: dict[str, dict[str, Any]] = {}
        for name in names:
            found[name] = {"tried": content.tried_shapes(tried, name, first.batch), "memory": memory[name]}
            for scenario in SCENARIOS:
                timing = timings.get(scenario)
                there = timing is not None and name in timing.series
                found[name][scenario] = (
                    content.scenario(timing, name, first.batch, cpus, bounds) if timing and there else None
                )
            for scenario in (MULTI_STREAM, SERVER):
                if own := found[name][scenario]:
                    own["within"] = own["p99_ms"] <= budget
        return {
            "affinity": cpus,
            "budget_ms": budget,
            "budget_from": source,
            "engines": found,
            **content.ratios(timings, budget, cpus, bounds),
        }

    def _shapes(self, opened: list[Engine], single: Shape, context: StageContext) -> list[Shape]:
        """Those that are tried; what has no room in memory is told."""
        o = self.options
        assert o.cpus is not None
        each = SESSION_SIZE * sum(engine.size_bytes for engine in opened)
        wanted = shapes(o.cpus, o.streams, o.threads)
        found, large = fitting(wanted, each, cores.available_memory())
        if large:
            many = ", ".join(f"{shape.streams} × {shape.threads}" for shape in large)
            context.warn(
                f"not tried, since there is not enough memory for so many sessions: {many} (streams × threads)"
            )
        return sorted({*found, single})

    def _budget(self, tried: Tried, single: Shape) -> tuple[float, str]:
        """Milliseconds, and where they are from."""
        if self.options.p99_ms is not None:
            return self.options.p99_ms, "latency.server.p99_ms"
        base = str(FP32) if str(FP32) in tried else next(iter(tried))
        slack = self.options.slack
        return slack * tried[base][single].p50_ms, f"{slack:g} times the median of a single stream of {base}"


def why_not(engine: Engine) -> str | None:
    """Why the throughput of an engine is not measured; ``None`` if it is."""
    backend = backends.get(engine.backend)
    return backend.why_no_streams(engine) if isinstance(backend, Streaming) else ONE_AT_A_TIME


def _told_to(context: StageContext) -> Callable[[str, int, int], None]:
    """Of each phase an equal part of the whole: how long it takes is not known beforehand."""

    def tell(phase: str, done: int, total: int) -> None:
        context.progress(round(100 * (_PHASES.index(phase) + done / max(total, 1))), 100 * len(_PHASES))

    return tell


def _save_samples(path: Path, timings: dict[str, Timing]) -> None:
    arrays = {}
    for scenario, timing in timings.items():
        for name, own in timing.series.items():
            arrays[f"{name}.{scenario}"] = own.all()
            arrays[f"{name}.{scenario}.latency"] = np.asarray(timing.latencies(name))
    np.savez(path, **arrays)  # type: ignore[arg-type]
