"""Latency of a backend's engines: Runtime (the engine alone) and End2End (preprocessing, engine, NMS).

Each engine has a process of its own, pinned to the same CPUs; they run alternately, the others asleep. End2End starts
from a decoded image and ends with detections in the pixels of that image; reading and decoding the file is left out.

``latency.json``::

    {"schema_version": 3, "backend", "threads", "affinity": [cpu, ...], "batch", "warmup",
     "rounds": of Runtime, "nms_in": "python" or "graph",
     "engines": {"fp32": {"cold_start": {"import_s", "load_s", "first_inference_s"},
                          "runtime": {"count", "mean_ms", "median_ms", "p50_ms", "p90_ms", ..., "images_per_s",
                                      "rounds_ms": [median of each round],
                                      "warmup": {"runs", "seconds", "stable"}, "validity": see validity.py},
                          "end2end": {...},
                          "parts": {"preprocess_ms", "engine_ms", "nms_ms",        # medians within End2End
                                    "host_to_device_ms", "compute_ms", "device_to_host_ms"},  # on a GPU, one by one
                          "memory": {"peak_mb", "engine_mb"}},                     # of the engine's process
                 "int8": {...}},
     "speedup": {"runtime": {"median", "low", "high", "rounds": [...], "verdict", "by_cpu", "taken"},  # see ratio.py
                 "end2end": {...}},                                                    # absent without both
     "over_fp32": {variant: as "speedup"},
     "over_best_float": {variant: as "speedup", with "against": the fastest variant in float},
     "against": {name: as "speedup"}}                     # with ``names``: of the last engine against each other one

``speedup`` is INT8's over FP32. Every speed-up has a 95 % confidence interval, and a verdict of its own. Times are per
run, that is per batch; ``engine_mb`` is what opening and running the engine added. ``samples.npz`` holds the raw
seconds, float64, ``fp32.runtime`` and so on, with the round of each sample in ``fp32.runtime.round``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from stages.artifacts import Engine, ImageList, LatencyResult, Precision, hash_files
from stages.backends.base import Array
from stages.backends.variants import opened_as
from stages.contract import StageContext
from stages.errors import ConfigError, DataError, StageError
from stages.latency import limits
from stages.latency.engine_process import started
from stages.latency.metrics import emit
from stages.latency.ratio import judged
from stages.latency.speedups import over_best_float, over_fp32
from stages.latency.timed_engine import END2END, RUNTIME, Setup
from stages.latency.timing import Plan, Series, Timed, choose_cpus, measure, summary
from stages.latency.validity import Limits, is_disturbed, verdict
from stages.numerics import variants
from stages.numerics.variants import engine_of
from stages.options.check import check_options
from stages.options.latency import LatencyOptions, check_rounds

SCHEMA_VERSION = 3


class OpenedEngine(Protocol):
    """An engine that is ready to be timed, here or in a process of its own."""

    @property
    def cold_start(self) -> dict[str, float]: ...

    def task(self, mode: str) -> Timed: ...

    def closing(self) -> dict[str, Any]: ...


Launch = Callable[[list[Setup], Path], AbstractContextManager[Sequence[OpenedEngine]]]
"""Opens engines, for the length of a ``with``; the folder is for files that nobody needs afterwards."""


@dataclass(frozen=True)
class LatencyInputs:
    """The engines of one backend, and the images End2End is timed on."""

    engines: list[Engine]
    images: ImageList


class Latency:
    """The stage: time all engines of one backend against each other."""

    name: ClassVar[str] = "latency"
    version: ClassVar[int] = 5
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    # What another of these asks of a timing is for `objection` to say; the timing is the same.
    unkeyed: ClassVar[tuple[str, ...]] = ("limits", "max_rounds", "retries", "retry_wait")
    Options: ClassVar[type] = LatencyOptions
    Inputs: ClassVar[type] = LatencyInputs
    Output: ClassVar[type[LatencyResult]] = LatencyResult

    def __init__(self, options: LatencyOptions, launch: Launch = started) -> None:
        problems = [*map(str, check_options(options, "latency")), *check_rounds(options)]
        if problems:
            raise ConfigError(problems)
        self.options = options
        self.launch = launch

    def run(self, inputs: LatencyInputs, context: StageContext) -> LatencyResult:
        o = self.options
        opened = opened_engines(inputs.engines, o.variants)
        first = check_engines(opened, o.names)
        threads = int(first.options.get("threads", 1))
        images = first_images(inputs.images, max(o.images, first.batch))
        try:
            cpus = choose_cpus(threads)
        except ValueError as error:
            raise ConfigError([f"backend.{first.backend}.threads: {error}; set it lower"]) from error
        if not cpus:
            context.warn("this operating system cannot pin a process to CPUs; the timings drift more")
        setups = [Setup(engine, images, o.nms, threads, cpus) for engine in opened]
        names = o.names or [engine.precision for engine in opened]
        with tempfile.TemporaryDirectory() as scratch, self.launch(setups, Path(scratch)) as engines:
            plan = Plan(o.warmup, o.runs, o.rounds, o.max_seconds, o.warmup_seconds, o.max_rounds)
            # Engine next to engine, mode after mode: what is compared is timed close together.
            series: dict[tuple[str, str], Series] = {}
            planned = before = o.runs * len(names)
            for mode, later in ((RUNTIME, planned), (END2END, 0)):
                offset = 0 if mode == RUNTIME else before
                made = measure(
                    [engine.task(mode) for engine in engines],
                    plan,
                    lambda done, total, offset=offset, later=later: context.progress(  # type: ignore[misc]
                        offset + done, offset + total + later
                    ),
                    lambda made, mode=mode: self._undecided(names, mode, made, cpus, context),  # type: ignore[misc]
                )
                series |= {(name, mode): one for name, one in zip(names, made, strict=True)}
                before = sum(map(plan.share, range(len(made[0].blocks)))) * len(names)
            found = [{"cold_start": engine.cold_start, **engine.closing()} for engine in engines]
        result = self._result(first, dict(zip(names, found, strict=True)), series, cpus)
        (context.out / "latency.json").write_text(json.dumps(result, indent=2) + "\n")
        _save_samples(context.out / "samples.npz", series)
        emit(result, context)
        return LatencyResult(
            root=context.out,
            files=hash_files(context.out),
            backend=first.backend,
            disturbed=_disturbed(result),
            rounds={mode: len(own.blocks) for (_, mode), own in series.items()},
            intervals=limits.intervals(limits.named(result)),
        )

    @staticmethod
    def objection(result: LatencyResult, options: LatencyOptions) -> str:
        """Why a stored result is not taken although its key is right; empty if nothing speaks against it."""
        if result.disturbed:
            more = f" (and {len(result.disturbed) - 1} more)" if len(result.disturbed) > 1 else ""
            return f"the timing was disturbed: {result.disturbed[0]}{more}"
        names = dict.fromkeys(key.split(".")[1] for key in result.intervals if not key.startswith("against."))
        for name in limits.undecided(result.intervals, options.limits, variants.judged(list(names))):
            rounds = result.rounds.get(name.rpartition(".")[2], 0)
            if rounds < options.max_rounds:
                return (
                    f"a gate on {name} is undecided after {rounds} rounds, and latency.max_rounds={options.max_rounds}"
                )
        return ""

    def _undecided(
        self, names: list[str], mode: str, made: list[Series], cpus: list[int], context: StageContext
    ) -> bool:
        """Whether the interval of a speed-up straddles the limit of a gate; that it does is told."""
        ratios = self._ratios({(name, mode): one for name, one in zip(names, made, strict=True)}, cpus)
        engines = names[-1:] if self.options.names else variants.judged(names)
        found = limits.undecided(limits.intervals(limits.named(ratios)), self.options.limits, engines)
        if found:
            rounds = len(made[0].blocks)
            context.info(f"undecided after {rounds} rounds: {', '.join(found)}; more rounds are timed")
        return bool(found)

    def _ratios(self, series: dict[tuple[str, str], Series], cpus: list[int]) -> dict[str, Any]:
        """Every ratio of the timings, each with its verdict."""
        bounds = Limits(self.options.max_foreign, self.options.max_drift)

        def compare(base: Series, other: Series) -> dict[str, Any]:
            return judged(base, other, cpus, bounds)

        result = {"over_fp32": over_fp32(series, compare), "over_best_float": over_best_float(series, compare)}
        if self.options.names:
            *others, last = self.options.names
            modes = dict.fromkeys(mode for _, mode in series)
            result["against"] = {
                name: {mode: compare(series[name, mode], series[last, mode]) for mode in modes} for name in others
            }
        return result

    def _result(
        self, first: Engine, found: dict[str, dict[str, Any]], series: dict[tuple[str, str], Series], cpus: list[int]
    ) -> dict[str, Any]:
        bounds = Limits(self.options.max_foreign, self.options.max_drift)
        for (name, mode), own in series.items():
            statistics = summary(own.all())
            found[name][mode] = {
                **statistics,
                "images_per_s": 1e3 * first.batch / statistics["mean_ms"] if statistics["mean_ms"] > 0 else None,
                "rounds_ms": [1e3 * float(np.median(part)) for part in own.samples if part],
                "warmup": asdict(own.warmth),
                "validity": verdict(own, cpus, bounds),
            }
        result: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "backend": first.backend,
            "threads": int(first.options.get("threads", 1)),
            "affinity": cpus,
            "batch": first.batch,
            "warmup": self.options.warmup,
            "rounds": len(series[next(iter(found)), RUNTIME].blocks),
            "nms_in": "graph" if first.nms_inside else "python",
            "engines": found,
        }
        result |= self._ratios(series, cpus)
        compressed = self.options.names[-1] if self.options.names else str(Precision.INT8)
        if compressed in result["over_fp32"]:
            result["speedup"] = result["over_fp32"][compressed]
        return result


def _disturbed(result: dict[str, Any]) -> list[str]:
    """A sentence for each timing and ratio that something disturbed."""
    verdicts = {
        f"{name} {mode}": found[mode]["validity"]["verdict"]
        for name, found in result["engines"].items()
        for mode in (RUNTIME, END2END)
    }
    verdicts |= {name: ratio["verdict"] for name, ratio in limits.named(result).items()}
    return [f"{name}: {verdict}" for name, verdict in verdicts.items() if is_disturbed(verdict)]


def opened_engines(engines: list[Engine], variants: list[str]) -> list[Engine]:
    """An engine for each of the ``variants`` whose files are among the ``engines``, opened as it says."""
    if not variants:
        return engines
    built = {engine.precision: engine for engine in engines}
    return [opened_as(built[engine_of(name)], name) for name in variants if engine_of(name) in built]


def check_engines(engines: list[Engine], names: list[str]) -> Engine:
    """The first engine, after making sure that all are of one backend and thread count, and can be told apart."""
    if not engines:
        raise StageError("latency got no engine; build one first (see the failed stages above)")
    different = {
        "backend": {e.backend for e in engines},
        "thread count": {e.options.get("threads", 1) for e in engines},
        "batch size": {e.batch for e in engines},
        "what they do themselves": {str(e.inside) for e in engines},
    }
    for what, values in different.items():
        if len(values) > 1:
            raise StageError(f"the engines differ in {what}, so timing them against each other means nothing")
    if names and (len(names) != len(engines) or len(set(names)) < len(names)):
        raise StageError(f"{len(engines)} engines need as many different names, not {', '.join(names)}")
    if not names and len({e.precision for e in engines}) < len(engines):
        raise StageError("two engines are the same variant; time one of each")
    return engines[0]


def first_images(images: ImageList, count: int) -> list[str]:
    """The paths of the first ``count`` images of the list; fewer if it has fewer."""
    listed = json.loads(images.path("images.json").read_text())[:count]
    if not listed:
        raise DataError(f"{images.path('images.json')} lists no image; End2End needs at least one")
    return [entry["path"] for entry in listed]


def _save_samples(path: Path, series: dict[tuple[str, str], Series]) -> None:
    arrays: dict[str, Array] = {}
    for (name, mode), own in series.items():
        arrays[f"{name}.{mode}"] = own.all()
        arrays[f"{name}.{mode}.round"] = np.repeat(np.arange(len(own.samples)), [len(s) for s in own.samples])
    np.savez(path, **arrays)  # type: ignore[arg-type]
