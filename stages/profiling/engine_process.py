"""The process that profiles one engine: ``python -m stages.profiling.engine_process SETUP``.

It answers with one line of JSON on its standard output, ``{"profile": {...}}`` (an engine's part of ``profile.json``)
or ``{"error": ...}``, and ends. No engine is timed in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages import backends
from stages.artifacts import Engine
from stages.backends.base import GpuSession
from stages.backends.profiled import ProfiledSession, ProfilesLayers
from stages.codec import artifact_from_json, to_json
from stages.detection.images import read_image
from stages.errors import ExitCode, StageCrashed, StageError, UnavailableError
from stages.latency.gpu import gpu_probe
from stages.latency.machine import UsageMeter, gpu_meter
from stages.latency.timed_engine import Setup, TimedModes
from stages.latency.timing import Round, Series, Task
from stages.latency.validity import Limits, verdict
from stages.options.accuracy import NmsOptions
from stages.options.profile import ProfileOptions
from stages.outside.files import put_text
from stages.processes import python
from stages.processes.children import Child
from stages.processes.pipes import (
    claim_stdout,
    die_with_parent,
    error_from_json,
    error_to_json,
    exit_at_once,
    receive,
    send,
)
from stages.profiling.peak import Peak, open_peak
from stages.profiling.summary import Turn, summarise

ROUNDS = 4
"""In each of them the peak is measured, then the engine."""
WARMUP = 3
_TOLD = ("verdict", "foreign_share", "waited_share", "drift", "clock_drop")


@dataclass(frozen=True)
class Profiling:
    """What the process needs."""

    setup: Setup
    options: ProfileOptions


def profiled_there(profiling: Profiling, folder: Path) -> dict[str, Any]:
    """The profile of one engine, from a process of its own; ``folder`` is for a file that nobody needs afterwards.

    Raises:
        DetpressError: what went wrong there, UnavailableError where there is no profile of such an engine.
    """
    engine = profiling.setup.engine
    path = folder / f"{engine.precision}.json"
    put_text(path, json.dumps(to_json(profiling)))
    process = Child(
        python.command("stages.profiling.engine_process", str(path)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        env=python.environment(OMP_NUM_THREADS=str(profiling.setup.threads)),
        knows=True,
    )
    try:
        assert process.stdout is not None
        for answer in receive(process.stdout):
            if "error" in answer:
                raise error_from_json(answer["error"])
            found: dict[str, Any] = answer["profile"]
            return found
        code = process.wait()
        raise StageCrashed(f"the process that profiled {engine.backend} {engine.precision} ended with exit code {code}")
    finally:
        if process.stdout is not None:
            process.stdout.close()
        process.end()


def profile(profiling: Profiling, *, pin: bool = True) -> dict[str, Any]:
    """Profile an engine in this process.

    Args:
        pin: keep the process on the setup's CPUs, from after the import of the runtimes on.

    Raises:
        UnavailableError: its backend has no profiler, or not for this engine.
    """
    import cv2

    setup, options = profiling.setup, profiling.options
    cv2.setNumThreads(setup.threads)
    backend = backends.get(setup.engine.backend)
    if not isinstance(backend, ProfilesLayers):
        raise UnavailableError(getattr(backend, "no_profile", f"the backend {setup.engine.backend} has no profiler"))
    backend.prepare()
    import onnxruntime  # noqa: F401 (before the CPUs are chosen, see stages/latency/timed_engine.py)

    if pin and setup.cpus:
        os.sched_setaffinity(0, setup.cpus)
    images = [read_image(Path(path)) for path in setup.images]
    with backend.open_profiled(setup.engine) as session:
        modes = TimedModes(setup.engine, session, images, setup.nms, time.perf_counter_ns)
        on_gpu = isinstance(session, GpuSession)
        peak = None if on_gpu else open_peak(setup.threads)
        meter, probe = (gpu_meter(), gpu_probe()) if on_gpu else (None, None)
        usage = UsageMeter(setup.cpus, meter=meter, gpu=probe)
        turns, rounds = _run(modes, session, peak, usage, options)
        found = summarise(session.profiled(), turns)
    if not found["layers"]:
        raise StageError(f"{backend.profiler} told of no layer that took any time; report this")
    series = Series(Task("profile", modes.runtime), rounds)
    judged = verdict(series, setup.cpus, Limits(options.max_foreign, options.max_drift))
    return {
        "profiler": backend.profiler,
        "runs": int(series.all().size),
        "run_ms": 1e3 * sorted(series.all().tolist())[series.all().size // 2],
        "validity": {name: judged[name] for name in _TOLD},
        "peak_by": peak.names if peak else {},
        **found,
    }


def _run(
    modes: TimedModes, session: ProfiledSession, peak: Peak | None, usage: UsageMeter, options: ProfileOptions
) -> tuple[list[Turn], list[Round]]:
    """The rounds' runs, with the peak before each. The runs that warm up are none of them."""
    done = 0

    def run() -> float:
        nonlocal done
        start = time.perf_counter()
        modes.runtime(done)
        took = time.perf_counter() - start
        done += 1
        session.note()
        return took

    longest = [run() for _ in range(WARMUP)][-1]
    runs = options.runs
    if options.max_seconds is not None and longest > 0:
        runs = min(runs, int(options.max_seconds / longest))
    each = max(1, runs // ROUNDS)
    turns, rounds = [], []
    for _ in range(ROUNDS):
        rates = peak.measure() if peak else {}
        run()  # the peak's kernels have taken the caches
        usage.start()
        first = done
        samples = [run() for _ in range(each)]
        rounds.append(Round(samples, usage.stop()))
        turns.append(Turn(range(first, done), rates))
    return turns, rounds


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Profile the engine of the setup, and answer."""
    setup_file = Path(sys.argv[1])
    answers = claim_stdout()
    die_with_parent()
    try:
        send(answers, {"profile": profile(_profiling(json.loads(setup_file.read_text())))})
    except Exception as error:  # whatever a runtime raises goes to the stage, which tells the user
        send(answers, {"error": error_to_json(error)})
        return ExitCode.STAGE_FAILED
    return ExitCode.DONE


def _profiling(data: Mapping[str, Any]) -> Profiling:
    setup, options = data["setup"], data["options"]
    engine = artifact_from_json(setup["engine"])
    assert isinstance(engine, Engine)
    nms = NmsOptions(**options["nms"])
    return Profiling(
        Setup(engine, setup["images"], nms, setup["threads"], setup["cpus"]), ProfileOptions(**{**options, "nms": nms})
    )


if __name__ == "__main__":
    exit_at_once(main)
