"""Where the time goes, in ``report.json``, in Markdown and on the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import ProfileResult, hash_files
from stages.outside import records
from stages.report import profiles
from stages.report.markdown_text import escape
from stages.report.page_profiles import COLOURS, profile_items
from stages.report.report import ReportStage
from stages.report.schema import ReportContent
from stages.report.schema_profile import Profiles
from tests.fakes import FakeContext
from tests.stages.report.test_report import report, whole

SHARED = "invalid: CPU shared with the load of other processes (20% of its time)"


def part(ms: float, of: float, layers: int = 1) -> dict[str, Any]:
    return {"ms": ms, "share": ms / of, "layers": layers}


def measured(groups: dict[str, float], verdict: str = "valid", of_peak: float | None = 0.93) -> dict[str, Any]:
    """An engine's part of ``profile.json`` in which every group is one layer."""
    total = sum(groups.values())
    made = {name: part(ms, total) for name, ms in groups.items()}
    work = {"multiply_adds": 1_500_000, "of_peak": of_peak}
    return {
        "profiler": "a profiler",
        "runs": 20,
        "run_ms": total * 1.1,
        "sum_ms": total,
        "groups": made,
        "kinds": {f"Kind{name}": of for name, of in made.items()},
        "convolutions": {**made["convolutions"], **work},
        "shapes": [{**made["convolutions"], **work, "shape": "3×3, 8 → 16, 40×40", "format": "int8"}],
        "peak": {"fp32": 1e11, "int8": 4e11},
        "peak_by": {"fp32": "Conv 1×1", "int8": "MatMulInteger"},
        "layers": [{"name": f"<b>{name}", "kind": "K", "group": name, **of} for name, of in made.items()],
        "validity": {"verdict": verdict},
    }


def profile(root: Path, engines: dict[str, dict[str, Any]], backend: str = "onnxruntime") -> ProfileResult:
    folder = root / backend / "profile"
    folder.mkdir(parents=True)
    content = {"schema_version": 1, "backend": backend, "threads": 1, "affinity": [0], "batch": 1, "engines": engines}
    (folder / "profile.json").write_text(json.dumps(content))
    return ProfileResult(root=folder, files=hash_files(folder), backend=backend)


@pytest.fixture
def inputs(tmp_path: Path) -> ReportStage.Inputs:
    """The timed Runtime of FP32 is 30 ms, that of INT8 10 ms."""
    both = {
        "int8": measured({"convolutions": 9.0, "activations": 3.0}, SHARED),
        "fp32": measured({"convolutions": 30.0, "tail": 1.0, "other": 2.0}, of_peak=None),
    }
    given = vars(whole(tmp_path))
    absent = {"fp32": {"none": "it prints sums"}, "int8": {"none": "it prints sums"}}
    return ReportStage.Inputs(
        **{**given, "profiles": [profile(tmp_path, both), profile(tmp_path, absent, "paddle_inference")]}
    )


def test_the_report_keeps_where_the_time_goes_beside_the_timed_latency(
    inputs: ReportStage.Inputs, context: FakeContext
) -> None:
    content, text = report(context, inputs)
    found: Profiles = content["profiles"]
    assert [(one["backend"], one["precision"]) for one in found["engines"]] == [
        ("onnxruntime", "fp32"), ("onnxruntime", "int8"),
    ]  # fmt: skip
    base, small = found["engines"]
    assert base["over_latency"] == pytest.approx(33 / 30) and small["over_latency"] == pytest.approx(1.2)
    table = profiles.share_table(found)
    assert table.header[4:] == ["Convolutions", "Activations", "Decoding, NMS", "Other"]
    assert table.rows == [
        ["onnxruntime FP32", "33.00", "1.10×", "None", "90.9%", "0.0%", "3.0%", "6.1%"],
        ["onnxruntime INT8*", "12.00", "1.20×", "93%", "75.0%", "25.0%", "0.0%", "0.0%"],
    ]
    assert "## Where the time goes" in text and f"| {escape('onnxruntime INT8*')} | 12.00 | 1.20× | 93% |" in text
    assert f"- {escape('No profile of paddle_inference FP32, INT8: it prints sums')}" in text
    records.conform(content, ReportContent, lenient=True)


def test_the_page_draws_a_bar_an_engine_and_escapes_what_a_model_calls_its_layers(
    inputs: ReportStage.Inputs, context: FakeContext
) -> None:
    content, _ = report(context, inputs)
    (items,) = profile_items(content)  # type: ignore[arg-type]
    assert [bar.name for bar in items.bars] == ["onnxruntime FP32", "onnxruntime INT8*"]
    assert [(part.name, part.share) for part in items.bars[1].parts] == [
        ("Convolutions", "75.00"), ("Activations", "25.00"),
    ]  # fmt: skip
    assert len({colour for colour, _ in items.legend}) == len(items.legend) == 4
    assert set(COLOURS) == set(profiles.TITLES)
    page = (context.out / "report.html").read_text()
    assert "<h2>Where the time goes</h2>" in page and "width:75.00%" in page
    assert "<b>convolutions" not in page and "&lt;b&gt;convolutions" in page
    assert "3×3, 8 → 16, 40×40" in page and "400 thousand million multiply-adds a second (MatMulInteger)" in page
    assert "No profile of paddle_inference FP32, INT8: it prints sums" in page


def test_a_report_without_profiles_has_no_such_section(tmp_path: Path, context: FakeContext) -> None:
    content, text = report(context, whole(tmp_path))
    assert "profiles" not in content and profile_items(content) == []  # type: ignore[arg-type]
    assert "Where the time goes" not in text + (context.out / "report.html").read_text()


def test_groups_have_a_title_each() -> None:
    from stages.profiling.groups import GROUPS

    assert tuple(profiles.TITLES) == GROUPS


def test_few_runs_are_no_mark() -> None:
    assert profiles.marked("invalid: too few samples (4, the median needs 10)") is None
    assert profiles.marked(SHARED) == SHARED and profiles.marked("valid") == "valid"
