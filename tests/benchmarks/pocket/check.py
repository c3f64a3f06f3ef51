"""What this machine's GPU does with detpress's graphs: run it as ``python check.py`` in the folder that was packed.

Needs Python, numpy, onnx and a driver; no network. The other folders of the pack are looked for beside this one
(``--parts`` otherwise); wheels that they have in pieces are joined and used from a scratch folder. Every step has a
process of its own and a time limit; the whole ends within ``--budget`` seconds. The result is one JSON (``--out``),
written anew after each step; ``detpress report FILE`` shows it.

Exit codes: 0 all that ran is right, 4 something is not, 2 nothing ran on a GPU (without one the CPU's part is run).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # isolated Python leaves it out

import join  # noqa: E402
import turns  # noqa: E402

LEAST = 3.0  # seconds: no step begins with less
VARIANTS = ("fp32", "fp16", "int8", "int8_fp16")
RTX_VARIANTS = {"fp32": "fp32", "fp16": "fp16", "int8": "rtx_int8", "int8_fp16": "rtx_int8_fp16"}
"""Variant -> its graph."""


class Check:
    """The record, and the steps that fill it."""

    def __init__(self, out: Path, budget: float, paths: list[str]) -> None:
        self.out, self.end, self.paths = out, time.monotonic() + budget, paths
        self.record: dict[str, Any] = {
            "kind": "gpu-pack",
            "schema_version": 1,
            "budget_s": budget,
            "machine": {},
            "wheels": [],
            "rtx": {},
            "rows": [],
            "finished": False,
        }

    def left(self) -> float:
        return self.end - time.monotonic()

    def step(self, name: str, limit: float, **arguments: Any) -> dict[str, Any]:
        """Run a step elsewhere; whatever happens to it is an answer."""
        limit = min(limit, self.left())
        if limit < LEAST:
            return {"status": "never", "reason": "the time was spent before it"}
        flags = ["-I", *(["-S"] if sys.flags.no_site else [])]
        command = [sys.executable, *flags, str(HERE / "steps.py"), name, json.dumps({**arguments, "paths": self.paths})]
        start = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            return {"status": "failed", "reason": f"not done after {limit:.0f} s", "seconds": limit}
        seconds = round(time.monotonic() - start, 2)
        try:
            found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        except (ValueError, IndexError):
            said = (done.stderr.strip().splitlines() or ["no message"])[-1]
            found = {"status": "failed", "reason": f"its process ended with {done.returncode}: {said}"}
        if found.get("status") in ("failed", "unavailable") and done.stderr.strip():
            found["messages"] = done.stderr.strip()[-2000:]  # what the libraries say is often the cause
        return {**found, "seconds": seconds}

    def row(self, model: str, runtime: str, variant: str, found: dict[str, Any]) -> dict[str, Any]:
        row = {"model": model, "runtime": runtime, "variant": variant, **found}
        self.record["rows"].append(row)
        self.save()
        print(f"{model:14} {runtime:18} {variant:10} {row['status']:12} {row.get('reason') or ''}", flush=True)
        return row

    def save(self) -> None:
        temporary = self.out.with_name(f"{self.out.name}.new")
        temporary.write_text(json.dumps(self.record, indent=1) + "\n")
        temporary.replace(self.out)

    def onnxruntime(self, model: str, provider: str, share: float) -> None:
        """Each variant alone, then those that ran in turns, for at most ``share`` seconds."""
        runtime, ran = f"onnxruntime {provider}", {}
        for variant in VARIANTS:
            graph = f"{model}.{variant}"
            found = self.step("ort", 90, folder=str(HERE), graph=graph, variant=variant, provider=provider)
            row = self.row(model, runtime, variant, found)
            if row["status"] in ("ok", "differs"):
                ran[variant] = row
        if not ran:
            return
        seconds = max(min(share, self.left() - 30), LEAST)
        graphs = {variant: f"{model}.{variant}" for variant in ran}
        whole = [variant for variant, row in ran.items() if not row["elsewhere"]]
        arguments = {"graphs": graphs, "provider": provider, "seconds": seconds, "whole": whole}
        timed = self.step("in_turns", seconds + 90, folder=str(HERE), **arguments)
        for variant, row in ran.items():
            if timed["status"] == "ok" and variant in timed["rounds"]:
                self.timed(row, timed["rounds"], variant)
                row |= {"disturbed": timed["disturbed"], "gpu": timed["gpu"], "launched": timed["launched"][variant]}
            else:
                row["untimed"] = timed.get("reason") or timed["launched"][variant]["failed"]
        self.save()

    def timed(self, row: dict[str, Any], rounds: dict[str, list[float]], variant: str) -> None:
        own = rounds[variant]
        row["rounds_ms"], row["median_ms"] = own, sorted(own)[len(own) // 2]
        if (plain := rounds.get(f"{variant}/plain")) is not None:
            row["plain_ms"], row["over_plain"] = sorted(plain)[len(plain) // 2], turns.ratio(plain, own)
        if variant != "fp32" and "fp32" in rounds:
            row["over_fp32"] = turns.ratio(rounds["fp32"], own)

    def only_built(self, model: str, why: str) -> None:
        """Each variant built by TensorRT for RTX, where no engine can run."""
        for variant, graph in RTX_VARIANTS.items():
            found = self.step("rtx_builds", 60, folder=str(HERE), graph=f"{model}.{graph}", why=why)
            self.row(model, "tensorrt_rtx", variant, found)

    def tensorrt_rtx(self, model: str, share: float) -> None:
        """Each variant in a process: built, run, compared, and timed alone, so without a ratio."""
        for variant, graph in RTX_VARIANTS.items():
            seconds = share / len(RTX_VARIANTS)
            arguments = {"graph": f"{model}.{graph}", "variant": variant, "seconds": seconds}
            found = self.step("rtx_graph", 90, folder=str(HERE), **arguments)
            rounds = found.pop("rounds", None)
            row = self.row(model, "tensorrt_rtx", variant, found)
            if rounds:
                self.timed(row, rounds, variant)
        self.save()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-pack.json"))
    parser.add_argument("--parts", type=Path, nargs="*", default=sorted(HERE.parent.glob("part-*")))
    parser.add_argument("--budget", type=float, default=450, help="seconds for everything")
    parser.add_argument("--timing", type=float, default=20, help="seconds of rounds for each model and runtime")
    parser.add_argument("--path", nargs="*", default=[], help="folders for sys.path, e.g. of unzipped wheels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpu-pack-") as scratch:
        check = Check(options.out.resolve(), options.budget, [str(path.resolve()) for path in map(Path, options.path)])
        try:
            check.record["wheels"] = join.join([HERE, *options.parts], Path(scratch))
            check.paths.append(scratch)
        except (ValueError, OSError) as error:
            print(f"the wheels cannot be joined: {error}", file=sys.stderr)
            check.record["wheels_missing"] = str(error)
        return checked(check, options.timing)


def checked(check: Check, timing: float) -> int:
    """All steps; what this GPU is and whether TensorRT for RTX takes it come first."""
    about = check.record["machine"] = check.step("machine", 30)
    gpus = about.get("gpus") or []
    told = [f"{gpu['name']} (compute capability {gpu['capability']})" for gpu in gpus]
    why = about.get("why") or about.get("reason")
    print(f"GPU: {', '.join(told) or why}; driver {about.get('driver')}, CUDA {about.get('cuda')}", flush=True)
    accepted = check.record["rtx"] = check.step("rtx_accepts", 90)
    print(f"TensorRT for RTX: {accepted['status']} {accepted.get('reason') or ''}", flush=True)
    check.save()
    manifest = json.loads((HERE / "graphs.json").read_text())
    models = list(dict.fromkeys(graph["model"] for graph in manifest["graphs"].values()))
    for model in models:
        check.onnxruntime(model, "cuda" if gpus else "cpu", timing)
    for model in models:
        if gpus and accepted["status"] == "ok":
            check.tensorrt_rtx(model, timing)
            continue
        if not gpus:
            check.row(model, "onnxruntime cuda", "all", {"status": "never", "reason": why})
        if accepted.get("built"):
            check.only_built(model, str(accepted["reason"] if gpus else why))
        else:
            status = accepted["status"] if gpus else "never"
            check.row(model, "tensorrt_rtx", "all", {"status": status, "reason": accepted["reason"] if gpus else why})
    check.record["finished"] = True
    check.save()
    print(f"written: {check.out}", flush=True)
    statuses = {row["status"] for row in check.record["rows"]}
    if gpus and statuses & {"failed", "differs"}:
        return 4
    return 0 if gpus and "ok" in statuses else 2


if __name__ == "__main__":
    raise SystemExit(main())
