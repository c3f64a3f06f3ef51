"""The report: right numbers in the right cells, whatever is missing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from stages.artifacts import AccuracyResult, Comparison, Engine, LatencyResult, Precision, hash_files
from stages.options.gate import GateOptions
from stages.options.report import ReportOptions
from stages.report.gates import evaluate_gates
from stages.report.report import ReportStage, render
from stages.report.tables import Table, class_table, detail_table, gate_table, latency_table
from tests.fakes import FakeContext

OPTIONS = ReportOptions(
    run_id="run-1",
    model="ppyoloe_tiny",
    data="shapes",
    command="detpress compress model=ppyoloe_tiny",
    hardware="Test CPU",
    method="qat_distill",
)


AUDIT = {
    "int8_share": 0.875,
    "share": {"int8": 0.875, "fp32": 0.125},
    "multiply_adds": 1000,
    "layers": {"int8": 7, "fp32": 1},
    "float_layers": [{"name": "conv_0", "kind": "Conv", "format": "fp32", "share": 0.125}],
}


def engine(root: Path, precision: Precision, backend: str = "onnxruntime") -> Engine:
    folder = root / backend / str(precision)
    folder.mkdir(parents=True)
    (folder / "main").write_bytes(b"x" * (4_000_000 if precision is Precision.FP32 else 1_500_000))
    return Engine(
        root=folder, files=hash_files(folder), backend=backend, precision=precision, main="main", input_size=[64, 64],
        batch=1, scale_factor=True, image_input="i", scale_input="s", boxes_output="b", scores_output="c",
        options={"threads": 1}, notes={"audit": AUDIT} if precision is Precision.INT8 else {},
        build_seconds=2.0,
    )  # fmt: skip


def latency(
    root: Path, medians: dict[str, tuple[float, float]], backend: str = "onnxruntime", nms_in: str = "python"
) -> LatencyResult:
    def stats(median: float) -> dict[str, float]:
        return {"count": 100, "mean_ms": median, "median_ms": median, "p90_ms": median + 1, "p99_ms": median + 2}

    folder = root / backend / "latency"
    folder.mkdir(parents=True)
    content = {
        "nms_in": nms_in,
        "engines": {
            p: {"cold_start": {"load_s": 0.5}, "runtime": stats(a), "end2end": stats(b)}
            for p, (a, b) in medians.items()
        },
    }
    (folder / "latency.json").write_text(json.dumps(content))
    return LatencyResult(root=folder, files=hash_files(folder), backend=backend)


def accuracy(root: Path, precision: Precision, points: float | None, backend: str = "onnxruntime") -> AccuracyResult:
    folder = root / backend / f"accuracy-{precision}"
    folder.mkdir(parents=True)
    ap = None if points is None else points / 100
    content = {
        "schema_version": 1, "backend": backend, "precision": str(precision), "images": 9, "map": points,
        "map50": points, "map75": points, "AP": ap, "AP_small": None, "nms": {}, "model_labels": [],
        "per_class": [{"name": "ant", "AP": ap, "AP50": ap, "boxes": 7}, {"name": "b|c", "AP": None, "AP50": None,
                                                                         "boxes": 0}],
    }  # fmt: skip
    (folder / "accuracy.json").write_text(json.dumps(content))
    return AccuracyResult(root=folder, files=hash_files(folder), backend=backend, precision=precision)


def report(context: FakeContext, inputs: ReportStage.Inputs, **options: Any) -> tuple[dict[str, Any], str]:
    given = ReportOptions(**{**vars(OPTIONS), **options})
    made = ReportStage(given).run(inputs, context)
    return json.loads(made.path("report.json").read_text()), made.path("report.md").read_text()


def whole(tmp_path: Path) -> ReportStage.Inputs:
    return ReportStage.Inputs(
        engines=[engine(tmp_path, Precision.INT8), engine(tmp_path, Precision.FP32)],
        latencies=[latency(tmp_path, {"fp32": (30.0, 36.0), "int8": (10.0, 16.0)})],
        accuracies=[accuracy(tmp_path, Precision.FP32, 50.5), accuracy(tmp_path, Precision.INT8, 49.25)],
    )


def test_a_whole_run(tmp_path: Path, context: FakeContext) -> None:
    content, text = report(context, whole(tmp_path))
    assert content["schema_version"] == 1
    assert content["status"] == "ok"
    assert (content["run_id"], content["seed"]) == ("run-1", 0)
    base, small = content["rows"]
    assert (base["precision"], small["precision"]) == ("fp32", "int8")
    assert base["speedup"] == {"runtime": None, "end2end": None}
    assert small["speedup"] == {"runtime": 3.0, "end2end": 2.25}
    assert small["map_drop"] == pytest.approx(1.25)
    assert small["latency"]["runtime"]["median_ms"] == 10
    assert small["int8_share"] == 0.875
    assert (base["engine_bytes"], small["engine_bytes"]) == (4_000_000, 1_500_000)
    assert {r["status"] for r in content["rows"]} == {"ok"}
    assert context.value("map_drop.onnxruntime.int8") == pytest.approx(1.25)
    method = "quantization-aware distillation"
    assert content["tables"]["runtime"]["rows"] == [
        ["onnxruntime", "Test CPU", "30.00", "10.00", "None", "None", "3.00", "None", "50.5", "49.2", method]
    ]
    assert content["tables"]["end2end"]["rows"][0][2:7] == ["36.00", "16.00", "None", "None", "2.25"]
    for part in (
        "## Runtime latency",
        "## End2End latency",
        "## Every engine",
        "87.5%",
        "3.00 times",
        "`detpress compress",
    ):
        assert part in text
    assert "## What is missing" not in text
    assert "b\\|c" in text


def test_every_line_of_a_markdown_table_is_as_long_as_its_header(tmp_path: Path, context: FakeContext) -> None:
    content, _ = report(context, whole(tmp_path))
    for table in (
        *(latency_table(content, m) for m in ("runtime", "end2end")),
        detail_table(content),
        class_table(content),
    ):
        assert {len(row) for row in table.rows} == {len(table.header)}
        lines = table.markdown().replace("\\|", "").splitlines()
        assert len(lines) == len(table.rows) + 2
        assert {line.count("|") for line in lines} == {len(table.header) + 1}


def test_without_compression_int8_does_not_apply(tmp_path: Path, context: FakeContext) -> None:
    inputs = ReportStage.Inputs(
        engines=[engine(tmp_path, Precision.FP32)],
        latencies=[latency(tmp_path, {"fp32": (30.0, 36.0)})],
        accuracies=[accuracy(tmp_path, Precision.FP32, 50.0)],
    )
    content, _ = report(context, inputs, method="none")
    assert content["status"] == "ok"
    assert content["tables"]["runtime"]["rows"] == [
        ["onnxruntime", "Test CPU", "30.00", "None", "None", "None", "None", "None", "50.0", "None", "none"]
    ]


def test_the_report_says_where_nms_ran(tmp_path: Path, context: FakeContext) -> None:
    inputs = ReportStage.Inputs(
        engines=[engine(tmp_path, Precision.FP32)],
        latencies=[latency(tmp_path, {"fp32": (30.0, 36.0)}, nms_in="graph")],
    )
    content, text = report(context, inputs, method="none")
    assert content["rows"][0]["nms_in"] == "graph"
    said = "NMS is part of the engine in: onnxruntime FP32."
    assert text.count(said) == 2 and said in (context.out / "report.html").read_text()


def test_failed_and_unavailable_backends_are_rows_with_a_status(tmp_path: Path, context: FakeContext) -> None:
    failures = [
        {"stage": "distill", "backend": None, "precision": None, "error": "killed"},
        {"stage": "build.onnxruntime.int8", "backend": "onnxruntime", "precision": "int8", "error": "killed",
         "status": "failed"},
        {"stage": "accuracy.onnxruntime.int8", "backend": "onnxruntime", "precision": "int8", "error": "killed",
         "status": "failed"},
        {"stage": "build.tensorrt.fp32", "backend": "tensorrt", "precision": "fp32", "error": "no GPU here\nat all",
         "status": "unavailable"},
    ]  # fmt: skip
    inputs = ReportStage.Inputs(
        engines=[engine(tmp_path, Precision.FP32)],
        latencies=[latency(tmp_path, {"fp32": (30.0, 36.0)})],
        accuracies=[accuracy(tmp_path, Precision.FP32, 50.0)],
    )
    content, text = report(context, inputs, failures=failures)
    assert content["status"] == "partial"
    assert [(r["backend"], r["precision"], r["status"]) for r in content["rows"]] == [
        ("onnxruntime", "fp32", "ok"),
        ("onnxruntime", "int8", "failed"),
        ("tensorrt", "fp32", "unavailable"),
    ]
    failed = content["rows"][1]
    assert failed["error"] == "killed"
    assert failed["failed_stages"] == ["build.onnxruntime.int8", "accuracy.onnxruntime.int8"]
    assert content["tables"]["runtime"]["rows"][0][2:10] == [
        "30.00", "failed", "None", "None", "None", "None", "50.0", "failed"
    ]  # fmt: skip
    assert content["tables"]["runtime"]["rows"][1][2] == "unavailable"
    assert "`build.tensorrt.fp32` unavailable: no GPU here at all" in text
    stopped = "`distill`, `build.onnxruntime.int8`, `accuracy.onnxruntime.int8` failed: killed"
    assert stopped in text  # one reason, one line
    page = Page()
    page.feed((context.out / "report.html").read_text())
    assert stopped.replace("`", "") in "".join(page.text)


def test_a_failed_timing_concerns_all_of_its_backend_and_keeps_the_map(tmp_path: Path, context: FakeContext) -> None:
    failure = {"stage": "latency.onnxruntime", "backend": "onnxruntime", "precision": None, "error": "out of memory"}
    inputs = ReportStage.Inputs(
        engines=[engine(tmp_path, Precision.FP32), engine(tmp_path, Precision.INT8)],
        accuracies=[accuracy(tmp_path, Precision.FP32, 50.0), accuracy(tmp_path, Precision.INT8, None)],
    )
    content, _ = report(context, inputs, failures=[failure])
    assert content["status"] == "failed"
    assert [r["status"] for r in content["rows"]] == ["failed", "failed"]
    assert [r["map"] for r in content["rows"]] == [50.0, None]
    assert content["rows"][1]["map_drop"] is None
    assert content["tables"]["runtime"]["rows"][0][2:4] == ["failed", "failed"]


def test_nothing_at_all(context: FakeContext) -> None:
    content, text = report(context, ReportStage.Inputs(), failures=[{"stage": "export", "error": "no weights"}])
    assert content["status"] == "failed"
    assert content["rows"] == []
    assert "Nothing was measured." in text
    assert "no weights" in text


def test_numbers_are_aligned_right_and_words_left() -> None:
    table = Table("t", ["name", "ms", "drop"], [["a", "1.50", "-0.3"], ["b", "None", "0.1"]])
    assert table.markdown().splitlines()[1] == "| --- | ---: | ---: |"


def comparison(root: Path, low: float | None, high: float | None, backend: str = "onnxruntime") -> Comparison:
    import cv2

    folder = root / backend / "compare"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "worst-1.jpg"), np.zeros((20, 40, 3), np.uint8))
    told = {"value": -1.25, "low": low, "high": high}
    found = {"error": 0.1, "bins": []}
    content = {
        "backend": backend, "base": "fp32", "other": "int8", "threshold": 0.4, "images": 9,
        "difference": {"map": told, "map_small": None, "map_large": {**told, "value": -2.0, "low": -4.5}},
        "per_class": [{"name": "ant", "boxes": 7, **told}, {"name": "b|c", "boxes": 0, "value": None, "low": None,
                                                           "high": None}],
        "calibration": {"base": found, "other": found,
                        "shift": {"boxes": 5, "mean": -0.01, "std": 0.1, "p5": -0.1, "p50": 0.0, "p95": 0.1}},
        "image_loss": {"mean": 0.1, "worse": 3, "better": 1},
        "worst": [{"image_id": 1, "file_name": "<one>.jpg", "base_f1": 0.9, "other_f1": 0.4, "loss": 0.5,
                   "picture": "worst-1.jpg"}],
    }  # fmt: skip
    (folder / "compare.json").write_text(json.dumps(content))
    return Comparison(root=folder, files=hash_files(folder), backend=backend, base=Precision.FP32, other=Precision.INT8)


def timed(root: Path, verdict: str) -> LatencyResult:
    """A latency result with all that the stage writes."""
    rng = np.random.default_rng(0)
    samples = {f"{p}.{m}": rng.normal(ms, 0.5, 100) * 1e-3 for p, ms in (("fp32", 30), ("int8", 10))
               for m in ("runtime", "end2end")}  # fmt: skip
    made = latency(root, {"fp32": (30.0, 36.0), "int8": (10.0, 16.0)})
    content = json.loads(made.path("latency.json").read_text())
    for found in content["engines"].values():
        found["parts"] = {"preprocess_ms": 1.0, "engine_ms": 10.0, "nms_ms": 2.0}
        found["memory"] = {"peak_mb": 100.0, "engine_mb": 30.0}
        for mode in ("runtime", "end2end"):
            cells = {"p90_ms": "valid", "p99_ms": "invalid: too few samples"}
            found[mode] |= {"images_per_s": 33.0, "validity": {"verdict": verdict, "cells": cells, "energy_mj": None}}
    content["speedup"] = {"runtime": {"median": 3.0, "low": 2.8, "high": 3.2, "rounds": []}}
    (made.root / "latency.json").write_text(json.dumps(content))
    np.savez(made.root / "samples.npz", **samples)
    return LatencyResult(root=made.root, files=hash_files(made.root), backend="onnxruntime")


def everything(tmp_path: Path, verdict: str = "valid") -> ReportStage.Inputs:
    return ReportStage.Inputs(
        engines=[engine(tmp_path, Precision.INT8), engine(tmp_path, Precision.FP32)],
        latencies=[timed(tmp_path, verdict)],
        accuracies=[accuracy(tmp_path, Precision.FP32, 50.5), accuracy(tmp_path, Precision.INT8, 49.25)],
        comparisons=[comparison(tmp_path, -2.5, 0.5)],
    )


GATES = GateOptions(
    max_map_drop=2.0, max_class_drop=3.0, max_size_drop=4.0, min_speedup=2.5, max_latency_ms=12, max_engine_mb=1,
    min_int8_share=0.8,
)  # fmt: skip


def test_an_engine_on_a_gpu_shows_its_copies(tmp_path: Path, context: FakeContext) -> None:
    inputs = everything(tmp_path)
    _, _ = report(context, inputs)
    assert "Latency breakdown: Runtime on the GPU" not in (context.out / "report.html").read_text()
    made = inputs.latencies[0]
    content = json.loads(made.path("latency.json").read_text())
    found = content["engines"]["int8"]
    found["parts"] |= {"host_to_device_ms": 1.234, "compute_ms": 5.0, "device_to_host_ms": 0.5}
    found["runtime"]["validity"]["gpu_energy_mj"] = 87.5
    (made.root / "latency.json").write_text(json.dumps(content))
    _, _ = report(context, inputs)
    page = (context.out / "report.html").read_text()
    assert "Latency breakdown: Runtime on the GPU" in page and "1.234" in page and "87.5" in page


def test_an_audit_says_where_it_was_read_and_on_which_devices_the_nodes_ran(
    tmp_path: Path, context: FakeContext
) -> None:
    inputs = everything(tmp_path)
    audit = inputs.engines[0].notes["audit"]
    devices = {"nodes": {"CUDAExecutionProvider": 612, "CPUExecutionProvider": 16}, "copies": 3,
               "elsewhere": {"CPUExecutionProvider": {"DequantizeLinear": 16}}}  # fmt: skip
    audit |= {"read_from": "engine", "devices": devices}
    audit |= {"inspected": {"layers": 120, "fused": 80, "formats": {"int8": 100, "fp16": 20}, "layouts": {}}}
    _, _ = report(context, inputs)
    page = (context.out / "report.html").read_text()
    assert "Read from the built engine, by TensorRT" in page
    assert "The engine has 120 layers, 80 of them fused; they take 100 int8, 20 fp16." in page
    assert "Nodes: 612 on CUDA, 16 on CPU; not where they were asked to: DequantizeLinear 16." in page


def test_gates_are_judged_on_the_worse_bound(tmp_path: Path, context: FakeContext) -> None:
    content, text = report(context, everything(tmp_path), gate=GATES)
    found = {g["gate"]: (g["verdict"], g["value"]) for g in content["gates"]}
    assert found == {
        "max_map_drop": ("fail", pytest.approx(2.5)),
        "max_class_drop": ("pass", pytest.approx(2.5)),
        "max_size_drop": ("fail", pytest.approx(4.5)),
        "min_speedup": ("pass", pytest.approx(2.8)),
        "max_latency_ms": ("pass", pytest.approx(10)),
        "max_engine_mb": ("fail", pytest.approx(1.5)),
        "min_int8_share": ("pass", pytest.approx(0.875)),
    }
    margins = {g["gate"]: g["margin"] for g in content["gates"]}
    assert margins["max_map_drop"] == pytest.approx(-0.5) and margins["min_speedup"] == pytest.approx(0.3)
    assert context.value("gate.max_map_drop.onnxruntime.int8.margin") == pytest.approx(-0.5)
    assert "## Gates" in text and "large boxes, upper bound of the drop" in text
    assert "-1.3 (-2.5 to +0.5)" in text and "3.00 (2.80 to 3.20)" in text


def test_a_gate_on_what_was_not_measured_fails(tmp_path: Path, context: FakeContext) -> None:
    inputs = ReportStage.Inputs(engines=[engine(tmp_path, Precision.INT8)])
    content, _ = report(context, inputs, gate=GateOptions(max_map_drop=1.0, min_speedup=1.0))
    assert [(g["verdict"], g["value"], g["reason"]) for g in content["gates"]] == [("fail", None, "not measured")] * 2


def test_without_an_interval_the_number_itself_is_judged(tmp_path: Path, context: FakeContext) -> None:
    inputs = everything(tmp_path)
    bare = comparison(tmp_path / "bare", None, None)
    content, _ = report(context, replace(inputs, comparisons=[bare]), gate=GateOptions(max_map_drop=1.5))
    assert (content["gates"][0]["verdict"], content["gates"][0]["value"]) == ("pass", 1.25)
    assert content["gates"][0]["of"] == "mAP, no interval"


def test_timings_that_are_not_valid_are_marked_and_may_fail_a_gate(tmp_path: Path, context: FakeContext) -> None:
    inputs = everything(tmp_path, "invalid: CPU shared with the load of other processes (30% of its time)")
    lenient, strict = GateOptions(min_speedup=2.5), GateOptions(min_speedup=2.5, require_valid=True)
    content, text = report(context, inputs, gate=strict)
    assert content["rows"][1]["validity"]["runtime"].startswith("invalid: CPU shared")
    assert content["tables"]["runtime"]["rows"][0][2:4] == ["30.00*", "10.00*"]
    assert "onnxruntime INT8, Runtime: invalid: CPU shared with the load of other processes" in text
    assert content["gates"][0]["verdict"] == "fail" and "load of other processes" in content["gates"][0]["reason"]
    (gate,) = evaluate_gates(content["rows"], lenient)
    assert gate["verdict"] == "not judged" and "load of other processes" in str(gate["reason"])
    (gate,) = evaluate_gates(content["rows"], replace(lenient, accept_disturbed=True))
    assert gate["verdict"] == "pass" and str(gate["reason"]).endswith("accepted (gate.accept_disturbed=true)")


class Page(HTMLParser):
    """Collects what a page would load, and whether its elements are closed in order."""

    VOID: ClassVar[set[str]] = {"meta", "link", "img", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_beside_itself(tmp_path: Path, context: FakeContext) -> None:
    made = ReportStage(
        ReportOptions(**{**vars(OPTIONS), "gate": GATES, "config": {"seed": 1}, "versions": {"numpy": "1"}})
    ).run(everything(tmp_path), context)
    page = Page()
    text = made.path("report.html").read_text()
    page.feed(text)
    page.close()
    assert page.open == []
    assert all(link.startswith(("data:", "#")) for link in page.loads)
    assert text.count("http-equiv") == 1 and "@import" not in text and text.count("<script") == 1
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    script = text[text.index("<script>") + len("<script>") : text.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and policy.startswith("default-src 'none'")
    assert len(set(page.ids)) == len(page.ids), "ids of figures must not clash"
    assert text.count("<svg") == 4  # Pareto, two distributions, classes
    for part in (
        *(
            "Gates",
            "Runtime latency",
            "End2End latency",
            "Precision audit",
            "Worst images",
            "<one>.jpg",
            "b|c",
            "Terms",
        ),
        *("detpress compress model=ppyoloe_tiny", "numpy 1", "3 of 7 gates fail", "95 %: 2.80 to 3.20"),
    ):
        assert part in page.text, part
    assert {"report-pareto.png", "report-latency-runtime.png", "report-classes-onnxruntime.png"} <= set(made.files)
    again = ReportStage(OPTIONS).run(everything(tmp_path / "again"), FakeContext(tmp_path / "second"))
    assert again.files["report-pareto.png"] == made.files["report-pareto.png"]


def test_the_page_of_a_run_that_failed_early(context: FakeContext) -> None:
    given = ReportOptions(failures=[{"stage": "export", "error": "no <weights>"}])
    made = ReportStage(given).run(ReportStage.Inputs(), context)
    page = Page()
    page.feed(made.path("report.html").read_text())
    assert "no <weights>" in page.text and page.open == []


def test_a_variant_that_is_only_opened_in_another_way_has_its_engines_numbers(
    tmp_path: Path, context: FakeContext
) -> None:
    times = {"fp32": (30.0, 36.0), "int8": (12.0, 16.0), "int8_pm": (10.0, 14.0)}
    timing = latency(tmp_path, times)
    content = json.loads(timing.path("latency.json").read_text())
    bounds = {"runtime": {"median": 3.0, "low": 2.9, "high": 3.1, "rounds": []}}
    content |= {
        "over_fp32": {"int8_pm": bounds},
        "over_best_float": {"int8_pm": {"runtime": {"against": "fp32", **bounds["runtime"]}}},
    }
    (timing.root / "latency.json").write_text(json.dumps(content))
    inputs = replace(
        everything(tmp_path / "more"),
        latencies=[LatencyResult(root=timing.root, files=hash_files(timing.root), backend="onnxruntime")],
    )
    names = ["fp32", "int8", "int8_pm"]
    gate = GateOptions(max_map_drop=3.0)
    told, text = report(context, inputs, variants={"onnxruntime": names}, gate=gate)
    assert [row["precision"] for row in told["rows"]] == names
    _, small, pinned = told["rows"]
    shared = ("engine_bytes", "map", "map_drop", "difference", "int8_share", "build_seconds")
    assert all(small[key] == pinned[key] and pinned[key] is not None for key in shared)
    assert pinned["latency"]["runtime"]["median_ms"] == 10 and small["latency"]["runtime"]["median_ms"] == 12
    assert pinned["speedup_interval"]["runtime"] == [2.9, 3.1]
    assert pinned["over_float"]["runtime"] == {"against": "fp32", "median": 3.0, "low": 2.9, "high": 3.1}
    header, (line,) = told["tables"]["runtime"]["header"], told["tables"]["runtime"]["rows"]
    assert dict(zip(header, line, strict=True))["INT8 + PM latency, ms"] == "10.00"
    assert dict(zip(header, line, strict=True))["INT8 over best float"] == "3.00 (FP32)"
    assert "Ship onnxruntime INT8 + PM: 10.00 ms, 3.00× (2.90 to 3.10) the speed of FP32" in text


def test_a_failed_build_fails_every_variant_of_the_engine(tmp_path: Path, context: FakeContext) -> None:
    failure = {"stage": "build.b.int8", "backend": "b", "precision": "int8", "error": "no", "status": "failed"}
    told, _ = report(context, ReportStage.Inputs(), failures=[failure], variants={"b": ["fp32", "int8", "int8_pm"]})
    assert [(row["precision"], row["status"]) for row in told["rows"]] == [
        ("fp32", "ok"),
        ("int8", "failed"),
        ("int8_pm", "failed"),
    ]


def test_a_column_that_a_backend_has_nothing_for_says_so_and_why(tmp_path: Path, context: FakeContext) -> None:
    absent = [
        {"backend": "onnxruntime", "precision": name, "reason": "it has no <kernels>"}
        for name in ("int8_fp16", "int8_fp16_pm")
    ]
    told, text = report(context, whole(tmp_path), left_out=absent)
    assert told["tables"]["runtime"]["rows"][0][2:6] == ["30.00", "10.00", "unavailable", "unavailable"]
    assert told["status"] == "ok" and len(told["rows"]) == 2
    page = Page()
    page.feed((context.out / "report.html").read_text())
    for words in (text.replace("&lt;", "<"), page.text):
        assert "onnxruntime, INT8 + FP16; INT8 + FP16 + PM: it has no <kernels>" in words


def test_timings_from_before_there_were_variants_are_over_fp32(tmp_path: Path, context: FakeContext) -> None:
    told, _ = report(context, everything(tmp_path), gate=GateOptions(min_speedup_over_float=2.9))
    assert told["rows"][1]["over_float"]["runtime"] == {"against": "fp32", "median": 3.0, "low": 2.8, "high": 3.2}
    (gate,) = told["gates"]
    assert (gate["verdict"], gate["value"], gate["of"]) == ("undecided", 2.8, "lower bound of the speed-up over FP32")


def test_a_report_from_before_there_were_variants_is_shown(tmp_path: Path, context: FakeContext) -> None:
    told, _ = report(context, everything(tmp_path))
    for row in told["rows"]:
        del row["over_float"]
    del told["left_out"], told["ship"]
    shown = render(told, context.out)
    assert "30.00" in shown["report.md"] and "<h1>" in shown["report.html"]


def test_gates_that_an_engine_leaves_out_for_one_reason_share_a_line(tmp_path: Path, context: FakeContext) -> None:
    failure = {"stage": "build.b.int8", "backend": "b", "precision": "int8", "error": "no", "status": "unavailable"}
    gate = GateOptions(max_map_drop=1.0, min_speedup=1.0, max_engine_mb=2.0)
    told, _ = report(context, whole(tmp_path), failures=[failure], gate=gate)
    assert len(told["gates"]) == 6
    lines = gate_table(told).rows
    assert [line[:3] for line in lines] == [
        ["fail", "max_map_drop", "onnxruntime INT8"],
        ["pass", "min_speedup", "onnxruntime INT8"],
        ["pass", "max_engine_mb", "onnxruntime INT8"],
        ["left out", "3 gates", "b INT8"],
    ]
    assert lines[-1][-1] == "unavailable on this machine"
