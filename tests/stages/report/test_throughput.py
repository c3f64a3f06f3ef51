"""Throughput in the report: numbers, marks, budgets that nothing keeps, backends that have none."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipelines.runs.tables import print_tables
from pipelines.runs.verdict import print_verdict
from stages.artifacts import ThroughputResult, hash_files
from stages.errors import InputError
from stages.report import throughput
from stages.report.report import render
from tests.fakes import FakeContext
from tests.stages.report.test_report import report, whole

BUSY = "invalid: CPU shared with the load of other processes (40% of its time)"
FEW = "invalid: too few samples (200, p99 needs 1000)"


def scenario(streams: int, images: float, p99: float, verdict: str = "valid", **more: Any) -> dict[str, Any]:
    validity = {
        "verdict": verdict, "cells": {}, "foreign_share": 0.0, "waited_share": 0.0, "drift": 0.0, "clock_drop": 1.0,
        "involuntary_switches": 0, "energy_mj": None, "gpu_energy_mj": None,
    }  # fmt: skip
    return {
        "streams": streams, "threads": 4 // streams, "images_per_s": images, "rounds_images_per_s": [images] * 2,
        "requests": 200, "p50_ms": p99 - 1, "p90_ms": p99, "p99_ms": p99, "mean_ms": p99, "window": 4,
        "validity": validity, "p99_validity": FEW, **more,
    }  # fmt: skip


def ratio(median: float, verdict: str = "valid") -> dict[str, Any]:
    return {"median": median, "low": median - 0.1, "high": median + 0.1, "rounds": [median] * 2, "verdict": verdict}


def content(**more: Any) -> dict[str, Any]:
    tried = [{"streams": 4, "threads": 1, "images_per_s": 33.0, "p50_ms": 119.0, "p99_ms": 120.0, "requests": 20}]
    memory = {"peak_mb": 9.0}
    fast = {scenario: ratio(2.0) for scenario in ("offline", "multi_stream")}
    engines = {
        "fp32": {"tried": tried, "memory": memory, "offline": scenario(4, 33.3, 120.0, BUSY), "multi_stream": None,
                 "server": None},
        "int8": {
            "tried": tried, "memory": memory, "offline": scenario(4, 66.6, 60.0),
            "multi_stream": scenario(2, 57.1, 35.0, within=True),
            "server": scenario(2, 41.0, 49.0, within=True, arriving_per_s=41.5),
        },
    }  # fmt: skip
    return {
        "schema_version": 1, "backend": "onnxruntime", "affinity": [0, 1, 2, 3], "batch": 1, "not_offered": None,
        "budget_ms": 50.0, "budget_from": "latency.server.p99_ms", "engines": engines, "over_fp32": {"int8": fast},
        "over_best_float": {"int8": {name: {**one, "against": "fp32"} for name, one in fast.items()}}, **more,
    }  # fmt: skip


def result(root: Path, **more: Any) -> ThroughputResult:
    root.mkdir(parents=True)
    (root / "throughput.json").write_text(json.dumps(content(**more)))
    return ThroughputResult(root=root, files=hash_files(root), backend="onnxruntime")


def none_of(root: Path, backend: str) -> ThroughputResult:
    nothing = {"engines": {}, "over_fp32": {}, "over_best_float": {}, "budget_ms": None, "affinity": []}
    return result(root, backend=backend, not_offered="detpress runs one inference at a time on it", **nothing)


def test_the_report_and_the_terminal_show_each_engine_in_each_scenario(tmp_path: Path, context: FakeContext) -> None:
    inputs = replace(whole(tmp_path), throughputs=[result(tmp_path / "a"), none_of(tmp_path / "b", "tensorrt")])
    told, markdown = report(context, inputs)
    found = throughput.table(told)  # type: ignore[arg-type]
    assert [row[:6] for row in found.rows] == [
        ["onnxruntime FP32", "Offline", "4 × 1 × 1", "33.3*", "119.00*", "120.00*"],
        ["onnxruntime INT8", "Offline", "4 × 1 × 1", "66.6", "59.00", "60.00*"],
        ["onnxruntime FP32", "Multi-stream", "None", "None", "None", "None"],
        ["onnxruntime INT8", "Multi-stream", "2 × 2 × 1", "57.1", "34.00", "35.00*"],
        ["onnxruntime FP32", "Server", "None", "None", "None", "None"],
        ["onnxruntime INT8", "Server", "2 × 2 × 1", "41.0", "48.00", "49.00*"],
    ]
    assert found.rows[1][6:] == ["2.00 (1.90 to 2.10)"] * 2
    page = (context.out / "report.html").read_text()
    for text in (markdown.replace("\\", ""), page):
        assert "Throughput" in text and "2.00 (1.90 to 2.10)" in text
        assert "onnxruntime 50.0 ms (latency.server.p99_ms)" in text and "export.batch" in text
        assert "tensorrt: no throughput; detpress runs one inference at a time on it" in text
        assert "onnxruntime FP32, Multi-stream: nothing stays within the budget; the least p99 was 120.0 ms" in text
        assert f"onnxruntime FP32, Offline: {BUSY}" in text
    console = Console(file=StringIO(), width=120)
    print_tables(told, console)  # type: ignore[arg-type]
    print_verdict(told, tmp_path / "artifacts" / "runs" / "r", 1.0, console)  # type: ignore[arg-type]
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert printed.count("Multi-stream") > 4 and printed.count("66.6") == 2
    assert printed.count("tensorrt: no throughput") == 2
    assert (
        f"* 1 of these numbers are not valid; the report says each, the first is onnxruntime FP32, Offline: {BUSY}"
        in (" ".join(printed.split()))
    )


def test_the_short_table_fits_a_terminal_and_breaks_no_word(tmp_path: Path, context: FakeContext) -> None:
    told, _ = report(context, replace(whole(tmp_path), throughputs=[result(tmp_path / "a")]))
    console = Console(file=StringIO(), width=80)
    print_verdict(told, tmp_path / "artifacts" / "runs" / "r", 1.0, console)  # type: ignore[arg-type]
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line for line in printed.splitlines() if line.startswith("onnxruntime INT8") and "Multi-stream" in line]
    assert [line.split() for line in lines] == [
        ["onnxruntime", "INT8", "Multi-stream", "2", "×", "2", "57.1", "35.0*", "2.00"]
    ]
    assert max(map(len, lines)) <= 80


def test_a_disturbed_ratio_and_a_missed_budget_are_said(tmp_path: Path, context: FakeContext) -> None:
    changed = content()
    changed["over_fp32"]["int8"]["offline"] = ratio(3.0, "invalid: the CPU's clock was 20% lower in one")
    changed["engines"]["int8"]["multi_stream"]["within"] = False
    changed["engines"]["int8"]["server"] = None
    told, _ = report(context, replace(whole(tmp_path), throughputs=[result(tmp_path / "a", **changed)]))
    said = throughput.notes(told)  # type: ignore[arg-type]
    assert "onnxruntime INT8, Offline, over FP32: invalid: the CPU's clock was 20% lower in one" in said
    assert (
        "onnxruntime INT8, Server: requests that arrive at random stay within the budget at no rate worth timing"
        in said
    )
    assert "onnxruntime INT8, Multi-stream: its p99 was over the budget when it was timed" in said
    assert throughput.table(told).rows[1][6] == "3.00* (2.90 to 3.10)"  # type: ignore[arg-type]


def test_a_run_without_it_says_nothing_and_an_old_report_is_shown(tmp_path: Path, context: FakeContext) -> None:
    told, markdown = report(context, whole(tmp_path))
    assert "throughput" not in told and "## Throughput" not in markdown
    texts = render(told, context.out)  # type: ignore[arg-type]
    assert "Multi-stream" not in texts["report.html"] and texts["report.md"] == markdown
    console = Console(file=StringIO(), width=120)
    print_tables(told, console)  # type: ignore[arg-type]
    assert "Multi-stream" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_damaged_result_is_no_report(tmp_path: Path) -> None:
    made = result(tmp_path / "a")
    made.path("throughput.json").write_text('{"engines": 3}')
    with pytest.raises(InputError, match=r"throughput\.json"):
        throughput.read([made])
