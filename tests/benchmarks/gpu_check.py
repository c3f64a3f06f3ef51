"""What the backends do on this machine's NVIDIA GPU: built, run, compared with the graph, timed.

``make gpu-check`` runs each variant of each backend in a process of its own, on the stand-in detector of the tests in
FP32 and INT8, and writes ``gpu-check.json`` and ``gpu-check.md`` (``--out FOLDER``, by default ``artifacts``). A
variant's outputs have to be those of the graph, run node by node by ONNX Runtime on the CPU: within 1e-3 in FP32, two
steps of the quantizer in INT8 and what FP16 rounds. The last line is JSON.

Exit codes: 0 if all that is available works, 4 if something does not, 2 if there is nothing to check on this machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages import backends
from stages.agreement.detect import NodeByNode
from stages.artifacts import Precision
from stages.backends.base import Available, Unavailable, nvidia_driver, nvidia_gpus, parse_options
from stages.build.build import Build, BuildInputs
from stages.detection.inference import feeds_for
from stages.errors import DetpressError
from stages.options.backend import BuildOptions
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.engines import SIZE, exported

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {  # name -> backend and options
    "onnxruntime cuda": ("onnxruntime", {"provider": "cuda"}),
    "onnxruntime tensorrt": ("onnxruntime", {"provider": "tensorrt"}),
    "tensorrt": ("tensorrt", {"pinned": True}),
    "tensorrt pageable": ("tensorrt", {"pinned": False}),
    "tensorrt graph": ("tensorrt", {"cuda_graph": True}),
    "tensorrt fp16": ("tensorrt", {"fp16": True}),
    "tensorrt_rtx": ("tensorrt_rtx", {"pinned": True}),
    "tensorrt_rtx graph": ("tensorrt_rtx", {"cuda_graph": True}),
    "paddle_inference cuda": ("paddle_inference", {"device": "cuda"}),
    "paddle_tensorrt": ("paddle_tensorrt", {}),
    "paddle_tensorrt fp16": ("paddle_tensorrt", {"fp16": True}),
    "fastdeploy ort": ("fastdeploy", {"runtime": "ort", "device": "gpu"}),
    "fastdeploy tensorrt": ("fastdeploy", {"runtime": "tensorrt", "device": "gpu", "pinned": True}),
    "fastdeploy paddle_tensorrt": ("fastdeploy", {"runtime": "paddle_tensorrt", "device": "gpu"}),
}
BOUNDS = {Precision.FP32: 1e-3, Precision.INT8: 0.2}  # a step of 0.05, doubled by the scale factor of 0.5
FP16_BOUND = 0.05
WARMUP, RUNS = 20, 100
OK, FAILED, UNAVAILABLE = "ok", "failed", "unavailable"


def check(backend: str, options: dict[str, Any], precision: Precision, folder: Path) -> dict[str, Any]:
    """One engine, built and run in this process.

    Returns:
        ``status`` and, as far as it came, ``reason``, ``difference`` (largest, to the graph), ``bound``, ``median_ms``
        (host to host), ``int8_share``, ``engine_mb``, ``build_s``.
    """
    row: dict[str, Any] = {"precision": str(precision), "status": OK, "reason": None}
    found = backends.get(backend)
    state = found.availability(parse_options(backend, found.Options, options))
    if isinstance(state, Unavailable):
        return {**row, "status": UNAVAILABLE, "reason": str(state)}
    paddle = bool(getattr(found, "uses_paddle", False)) or "paddle" in str(options.get("runtime"))
    model = exported(folder / "model", precision, paddle=paddle)
    rng = np.random.default_rng(0)
    images = rng.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)
    scales = np.float32([[0.5, 2.0]])
    try:
        engine = Build(BuildOptions(backend=backend, options=options)).run(
            BuildInputs(model=model), FakeContext(folder / "build")
        )
        row |= {
            "engine_mb": engine.size_bytes / 1e6,
            "build_s": engine.build_seconds,
            "int8_share": (engine.notes.get("audit") or {}).get("int8_share"),
        }
        if isinstance(state, Available) and not state.can_run:
            return {**row, "status": UNAVAILABLE, "reason": state.detail}
        feeds = feeds_for(engine, images, scales)
        with found.open(engine) as session:
            outputs = [np.array(o) for o in session.infer(feeds)]
            times = []
            for i in range(WARMUP + RUNS):
                start = time.perf_counter()
                session.infer(feeds)
                if i >= WARMUP:
                    times.append(time.perf_counter() - start)
    except DetpressError as error:
        status = UNAVAILABLE if type(error).__name__ == "UnavailableError" else FAILED
        return {**row, "status": status, "reason": str(error).splitlines()[0]}
    row["median_ms"] = float(np.median(times)) * 1e3
    expected = NodeByNode(model).infer(feeds)
    row["difference"] = max(float(np.abs(a - b).max()) for a, b in zip(outputs, expected, strict=True))
    row["bound"] = max(BOUNDS[precision], FP16_BOUND if options.get("fp16") else 0.0)
    if not row["difference"] <= row["bound"]:
        row |= {"status": FAILED, "reason": f"differs from the graph by {row['difference']:.2g}"}
    return row


def check_elsewhere(name: str, precision: Precision) -> dict[str, Any]:
    """`check` in a process of its own: what crashes is a row, and Paddle and TensorRT do not meet."""
    command = [sys.executable, "-m", "tests.benchmarks.gpu_check", "--one", name, "--precision", str(precision)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    lines = done.stdout.strip().splitlines()
    if done.returncode != 0 or not lines:
        tail = (done.stderr.strip().splitlines() or ["no message"])[-1]
        reason = f"its process ended with {done.returncode}: {tail}"
        return {"precision": str(precision), "status": FAILED, "reason": reason}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def check_all(variants: Sequence[str]) -> list[dict[str, Any]]:
    """A row per variant and precision, told as they come."""
    rows = []
    for name in variants:
        for precision in Precision:
            row = {"variant": name, **check_elsewhere(name, precision)}
            rows.append(row)
            print(f"{name:28} {precision:5} {row['status']:12} {_told(row)}", flush=True)
    return rows


def _told(row: dict[str, Any]) -> str:
    if row["status"] != OK:
        return str(row["reason"])
    return f"{row['median_ms']:.2f} ms, differs by {row['difference']:.1g}"


def write(rows: list[dict[str, Any]], out: Path) -> None:
    """``gpu-check.json`` and ``gpu-check.md``."""
    out.mkdir(parents=True, exist_ok=True)
    about = {"gpus": nvidia_gpus(), "driver": nvidia_driver()}
    (out / "gpu-check.json").write_text(json.dumps({"schema_version": 1, **about, "rows": rows}, indent=1) + "\n")
    names = ("variant", "precision", "status", "median_ms", "difference", "int8_share", "engine_mb", "reason")
    lines = [f"GPUs: {', '.join(about['gpus']) or 'none'}; driver {about['driver']}", ""]
    lines += ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    for row in rows:
        cells = [f"{v:.4g}" if isinstance(v := row.get(n), float) else str(v if v is not None else "") for n in names]
        lines.append("| " + " | ".join(cells) + " |")
    (out / "gpu-check.md").write_text("\n".join(lines) + "\n")


def exit_code(rows: Sequence[dict[str, Any]]) -> int:
    statuses = {row["status"] for row in rows}
    return 4 if FAILED in statuses else 0 if OK in statuses else 2


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make gpu-check", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("artifacts"))
    parser.add_argument("--one", choices=list(VARIANTS), help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="fp32", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one:
        backend, chosen = VARIANTS[options.one]
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(check(backend, chosen, Precision(options.precision), Path(folder))))
        return 0
    if nvidia_driver() is None:
        print(
            "There is no NVIDIA GPU on this machine (no driver is loaded), so nothing was checked. Run it where there "
            "is one; what a CPU can tell, `make test` tells."
        )
        print(json.dumps({"gpus": [], "ok": 0, "failed": 0, "unavailable": 0}))
        return 2
    rows = check_all(list(VARIANTS))
    write(rows, options.out)
    print(f"written: {options.out / 'gpu-check.md'}")
    counts = {name: sum(row["status"] == name for row in rows) for name in (OK, FAILED, UNAVAILABLE)}
    print(json.dumps({"gpus": nvidia_gpus(), **counts}))
    return exit_code(rows)


if __name__ == "__main__":
    raise SystemExit(main())
