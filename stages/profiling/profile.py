"""Stage ``profile``: where the time of each engine of a backend goes, by its runtime's own profiler.

Each engine has a process of its own, pinned as in the timing, and is opened with the profiler on. A profiler costs
time, so the sum of the layers is no latency; what it is good for is shares. ``profile.json``::

    {"schema_version": 1, "backend", "threads", "affinity": [cpu, ...], "batch",
     "engines": {"fp32": {"profiler", "runs",
                          "run_ms": median of a whole run with the profiler on, "sum_ms": of its layers,
                          "groups": {group: {"ms", "share", "layers"}},           # see groups.py
                          "kinds": {the runtime's word: {"ms", "share", "layers"}},
                          "convolutions": {"ms", "share", "layers", "multiply_adds", "of_peak"},  # wherever they are
                          "shapes": [{"shape", "format", "layers", "ms", "share", "multiply_adds", "of_peak"}, ...],
                          "peak": {"fp32", "int8": multiply-adds a second}, "peak_by": {"fp32": kernel, ...},
                          "layers": [{"name", "kind", "group", "ms", "share", "shape", "format"}, ...],
                          "validity": {"verdict", "foreign_share", "waited_share", "drift", "clock_drop"}},
                 "int8": {"none": why there is no profile}}}

Milliseconds are of one run, that is of one batch. Where an engine cannot be profiled the run continues: nothing but a
section of the report hangs on it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from stages.artifacts import Engine, ImageList, ProfileResult, hash_files
from stages.contract import StageContext
from stages.detection.unlabeled import listed_paths
from stages.errors import ConfigError, DetpressError, StageError, UnavailableError
from stages.latency.timed_engine import Setup
from stages.latency.timing import choose_cpus
from stages.latency.validity import is_disturbed
from stages.options.check import check_options
from stages.options.profile import ProfileOptions
from stages.profiling.engine_process import Profiling, profiled_there

SCHEMA_VERSION = 1
Launch = Callable[[Profiling, Path], dict[str, Any]]
"""Profiles one engine, here or in a process of its own."""


@dataclass(frozen=True)
class ProfileInputs:
    """The engines of one backend, and the images that they run on."""

    engines: list[Engine]
    images: ImageList


class Profile:
    """The stage."""

    name: ClassVar[str] = "profile"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless", "onnxruntime", "onnx")
    Options: ClassVar[type] = ProfileOptions
    Inputs: ClassVar[type] = ProfileInputs
    Output: ClassVar[type[ProfileResult]] = ProfileResult

    def __init__(self, options: ProfileOptions, launch: Launch = profiled_there) -> None:
        if problems := [*map(str, check_options(options, "profile"))]:
            raise ConfigError(problems)
        self.options = options
        self.launch = launch

    def run(self, inputs: ProfileInputs, context: StageContext) -> ProfileResult:
        if not inputs.engines:
            raise StageError("profile got no engine; build one first (see the failed stages above)")
        first = inputs.engines[0]
        threads = int(first.options.get("threads", 1))
        try:
            cpus = choose_cpus(threads)
        except ValueError as error:
            raise ConfigError([f"backend.{first.backend}.threads: {error}; set it lower"]) from error
        images = [str(path) for path in listed_paths(inputs.images)[: first.batch]]
        engines: dict[str, dict[str, Any]] = {}
        with tempfile.TemporaryDirectory() as scratch:
            for number, engine in enumerate(inputs.engines):
                context.progress(number, len(inputs.engines))
                setup = Setup(engine, images, self.options.nms, threads, cpus)
                engines[engine.precision] = self._of(Profiling(setup, self.options), Path(scratch), context)
        content = {
            "schema_version": SCHEMA_VERSION,
            "backend": first.backend,
            "threads": threads,
            "affinity": cpus,
            "batch": first.batch,
            "engines": engines,
        }
        (context.out / "profile.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return ProfileResult(
            root=context.out, files=hash_files(context.out), backend=first.backend, disturbed=_disturbed(engines)
        )

    def _of(self, profiling: Profiling, folder: Path, context: StageContext) -> dict[str, Any]:
        """One engine's part, or why there is none: a failure is told, and is no failure of the run."""
        engine = profiling.setup.engine
        try:
            return self.launch(profiling, folder)
        except UnavailableError as error:
            context.info(f"no profile of {engine.backend} {engine.precision}: {error}")
            return {"none": str(error)}
        except DetpressError as error:
            context.warn(f"no profile of {engine.backend} {engine.precision}: {error}")
            return {"none": str(error)}

    @staticmethod
    def objection(result: ProfileResult, options: ProfileOptions) -> str:
        """Why a stored result is not taken although its key is right; empty if nothing speaks against it."""
        return f"the profile was disturbed: {result.disturbed[0]}" if result.disturbed else ""


def _disturbed(engines: dict[str, dict[str, Any]]) -> list[str]:
    verdicts = {name: found["validity"]["verdict"] for name, found in engines.items() if "validity" in found}
    return [f"{name}: {verdict}" for name, verdict in verdicts.items() if is_disturbed(verdict)]
