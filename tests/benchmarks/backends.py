"""INT8 against FP32 on ONNX Runtime and OpenVINO, ours and others': ``make bench-backends``. The last line is JSON.

PP-YOLOE-l at 640x640, batch 1, one thread (``--model``, ``--threads``). All engines come from one FP32 model and one
set of calibration images; each has a process of its own, pinned to the same CPU, and they run in turns, so that what
else the machine does meets all.

- ``ort_fp32_ms``, ``ort_int8_ms``, ``openvino_int8_ms``: detpress's engines; ``quantize_static_ms``: ONNX Runtime's own
  quantization (the faster of its two forms); ``nncf_ms``: NNCF's post-training quantization on OpenVINO. Medians.
- ``ort_speedup``, ``openvino_speedup``: against ``ort_fp32``, with bounds of 95 %; ``best_speedup`` is the larger.
  ``over_quantize_static``, ``over_nncf``: how many times faster ours is on the same runtime.
- ``cpu``, ``cpu_low``, ``cpu_high`` in a ratio: the same of processor time, which another load on the machine and its
  clock's drift distort less.
- ``int8_share``: of multiply-adds that ran in INT8, the smaller of ours on the two; ``int8_shares`` has all.
- ``*_default``: the OpenVINO engines opened with its own default hint, where that is not ``f32``.
- ``difference``: how far each INT8 engine's outputs are from FP32's, root mean square.
- ``quiet``: whether the latency stage would call all of these timings valid.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifacts import Engine
from stages.latency.engine_process import started
from stages.latency.timed_engine import RUNTIME, Setup
from stages.latency.timing import Plan, Round, Series, choose_cpus, measure, speedup, summary
from stages.latency.validity import VALID, Limits, verdict
from stages.options.accuracy import NmsOptions
from stages.options.latency import LatencyOptions
from tests.benchmarks import preparing
from tests.conftest import ROOT

Timings = dict[str, Series]
STATIC = ("quantize_static_qdq", "quantize_static_qoperator")


def with_threads(engine: Engine, threads: int) -> Engine:
    """An engine as if it had been built for so many threads: they are a setting of how it is opened."""
    return dataclasses.replace(engine, options={**engine.options, "threads": threads})


def time_all(
    engines: dict[str, Engine], images: list[str], rounds: int, runs: int, threads: int = 1
) -> tuple[Timings, list[int]]:
    """Each engine's timings, taken in turns: ``runs`` in each of ``rounds``. And the CPUs they ran on."""
    cpus = choose_cpus(threads)
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        tasks = []
        for name, engine in engines.items():
            folder = scratch / name
            folder.mkdir()
            setup = Setup(with_threads(engine, threads), images[:1], NmsOptions(), threads, cpus)
            (process,) = stack.enter_context(started([setup], folder))
            tasks.append(process.task(RUNTIME))
            print(f"opened {name}", file=sys.stderr, flush=True)
        told = 0

        def progress(done: int, total: int) -> None:
            nonlocal told
            if done * 10 // total > told:
                told = done * 10 // total
                print(f"timed {done} of {total} runs", file=sys.stderr, flush=True)

        series = measure(tasks, Plan(3, runs * rounds, rounds), progress)
    return dict(zip(engines, series, strict=True)), cpus


def by_processor_time(series: Series) -> Series:
    """The same rounds with one sample each: the processor time of a run, in seconds."""
    used = [block.usage.cpu_s / len(block.samples) for block in series.blocks if block.usage is not None]
    return Series(series.task, [Round([seconds]) for seconds in used])


def cpu_ms(series: Series) -> float:
    """Processor time of a run, the median of the rounds."""
    return 1e3 * float(np.median(by_processor_time(series).all()))


def ratio(base: Series, other: Series) -> dict[str, float | None]:
    """How many times faster ``other`` is: by the clock and by processor time, each with its bounds."""
    by_clock = speedup(base, other)
    by_cpu = speedup(by_processor_time(base), by_processor_time(other))
    found = {**by_clock, "cpu": by_cpu["median"], "cpu_low": by_cpu["low"], "cpu_high": by_cpu["high"]}
    names = ("median", "low", "high", "cpu", "cpu_low", "cpu_high")
    return {name: None if found[name] is None else round(found[name], 3) for name in names}


def result(timings: Timings, engines: dict[str, Engine], cpus: list[int]) -> dict[str, Any]:
    """What the last line says."""
    ms = {name: summary(own.all())["median_ms"] for name, own in timings.items()}
    static = min((name for name in STATIC if name in ms), key=ms.__getitem__)
    audited = {name: e for name, e in engines.items() if not name.endswith(("_fp32", "_default"))}
    shares = {name: round(e.notes["audit"]["int8_share"], 4) for name, e in audited.items()}
    limits = Limits(LatencyOptions().max_foreign, LatencyOptions().max_drift)
    verdicts = {name: verdict(own, cpus, limits)["verdict"] for name, own in timings.items()}
    ratios = {
        "ort_speedup": ratio(timings["ort_fp32"], timings["ort_int8"]),
        "openvino_speedup": ratio(timings["ort_fp32"], timings["openvino_int8"]),
        "over_quantize_static": ratio(timings[static], timings["ort_int8"]),
        "over_nncf": ratio(timings["nncf"], timings["openvino_int8"]),
        "openvino_over_its_fp32": ratio(timings["openvino_fp32"], timings["openvino_int8"]),
    }
    if "nncf_default" in timings:
        ratios["over_nncf_default"] = ratio(timings["nncf_default"], timings["openvino_int8_default"])
    for name, own in timings.items():
        print(f"{name:27} {ms[name]:8.1f} ms  {cpu_ms(own):8.1f} ms of processor time  {verdicts[name]}")
    for name, told in ratios.items():
        print(f"{name:27} {told['median']:.2f} ({told['low']} to {told['high']}), "
              f"of processor time {told['cpu']} ({told['cpu_low']} to {told['cpu_high']})")  # fmt: skip
    quiet = all(verdict == VALID for verdict in verdicts.values())
    if not quiet:
        print("The machine was not quiet: believe the ratios of processor time before those of the medians.")
    return {
        **{f"{name}_ms": round(value, 1) for name, value in ms.items()},
        "quantize_static_ms": round(ms[static], 1),
        **ratios,
        "best_speedup": max(ratios[name]["median"] or 0.0 for name in ("ort_speedup", "openvino_speedup")),
        "int8_share": min(shares["ort_int8"], shares["openvino_int8"]),
        "int8_shares": shares,
        "quiet": quiet,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="ppyoloe_l")
    parser.add_argument("--threads", type=int, default=1, help="of each engine")
    parser.add_argument("--images", type=int, default=8, help="to calibrate on")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--runs", type=int, default=3, help="of each round")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "detpress-bench-backends",
                        help="keeps what was made, for the next call")  # fmt: skip
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    engines, images = preparing.prepare(options.folder.resolve(), options.model, options.images)
    paths = [entry["path"] for entry in json.loads(images.path("images.json").read_text())]
    timings, cpus = time_all(engines, paths, options.rounds, options.runs, options.threads)
    found = result(timings, engines, cpus)
    compared = {name: e for name, e in engines.items() if "fp32" not in name}
    differences = {n: preparing.difference(engines["ort_fp32"], e, images) for n, e in compared.items()}
    for name, told in differences.items():
        print(f"{name:27} differs from FP32 by {told['boxes_px']:.2f} px and {told['scores']:.4f} in score")
    print(json.dumps({"model": options.model, "threads": options.threads, **found, "difference": differences}))


if __name__ == "__main__":
    main()
