"""The report: right numbers in the right cells, whatever is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.contract import AccuracyResult, Engine, LatencyResult, Precision, hash_files
from stages.options import ReportOptions
from stages.report import ReportStage
from stages.reporting.tables import Table, class_table, detail_table, latency_table
from tests.fakes import FakeContext

OPTIONS = ReportOptions(
    run_id="run-1",
    model="ppyoloe_tiny",
    data="shapes",
    command="detpress compress model=ppyoloe_tiny",
    hardware="Test CPU",
    method="qat_distill",
)


def engine(root: Path, precision: Precision, backend: str = "onnxruntime") -> Engine:
    folder = root / backend / str(precision)
    folder.mkdir(parents=True)
    (folder / "main").write_bytes(b"x" * (4_000_000 if precision is Precision.FP32 else 1_500_000))
    return Engine(
        root=folder, files=hash_files(folder), backend=backend, precision=precision, main="main", input_size=[64, 64],
        batch=1, scale_factor=True, image_input="i", scale_input="s", boxes_output="b", scores_output="c",
        options={"threads": 1}, notes={"audit": {"int8_share": 0.875}} if precision is Precision.INT8 else {},
        build_seconds=2.0,
    )  # fmt: skip


def latency(root: Path, medians: dict[str, tuple[float, float]], backend: str = "onnxruntime") -> LatencyResult:
    def stats(median: float) -> dict[str, float]:
        return {"count": 100, "mean_ms": median, "median_ms": median, "p90_ms": median + 1, "p99_ms": median + 2}

    folder = root / backend / "latency"
    folder.mkdir(parents=True)
    content = {
        "nms_in": "python",
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
        ["onnxruntime", "Test CPU", "30.00", "10.00", "None", "None", "3.00", "50.5", "49.2", method]
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
        ["onnxruntime", "Test CPU", "30.00", "None", "None", "None", "None", "50.0", "None", "none"]
    ]


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
    assert content["tables"]["runtime"]["rows"][0][2:9] == [
        "30.00", "failed", "None", "None", "None", "50.0", "failed"
    ]  # fmt: skip
    assert content["tables"]["runtime"]["rows"][1][2] == "unavailable"
    assert "`build.tensorrt.fp32` unavailable: no GPU here at all" in text
    assert "`distill` failed: killed" in text


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
