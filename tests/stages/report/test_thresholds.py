"""Thresholds that moved, in the report for people and for programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import Thresholds, hash_files
from stages.detection.bootstrap import draw_weights
from stages.errors import InputError
from stages.report import thresholds
from stages.report.schema_thresholds import ThresholdsContent
from stages.thresholds.choosing import Seen, choose
from stages.thresholds.moving import COUNT, PRECISION
from tests.fakes import FakeContext
from tests.stages.report.test_report import report, whole
from tests.stages.thresholds.scenes import both


def content(*, by: str = "labels", validation: bool = True) -> ThresholdsContent:
    def seen(seed: int) -> Seen:
        return Seen(*both(seed, lambda score: 0.8 * score), {0: 0})

    named = [("a|<b>", 0.5), ("none", 0.4)]
    same = PRECISION if by == "labels" else COUNT
    engine = choose("int8", seen(1), named, draw_weights(60, 100, 0), same, seen(2) if validation else None)
    return {
        "schema_version": 1, "backend": "onnxruntime", "base": "fp32", "by": by, "images": 60, "draws": 100,
        "confidence": 0.95, "engines": [engine],
    }  # fmt: skip


def result(folder: Path, of: Any) -> Thresholds:
    import json

    folder.mkdir()
    (folder / "thresholds.json").write_text(json.dumps(of))
    return Thresholds(root=folder, files=hash_files(folder), backend="onnxruntime")


def test_the_report_says_what_moves_and_what_that_does(tmp_path: Path, context: FakeContext) -> None:
    inputs = replace(whole(tmp_path), thresholds=[result(tmp_path / "moved", content())])
    told, _ = report(context, inputs)
    ((first, second),) = [engine["classes"] for of in told["thresholds"] for engine in of["engines"]]
    assert first["moved"] and not second["moved"]
    markdown, page = ((context.out / f"report.{kind}").read_text() for kind in ("md", "html"))
    assert "## Thresholds of onnxruntime INT8" in markdown
    assert "| a\\|&lt;b> | 360 | 0.500 | 0.400 | 0.400 \\[0.400, 0.400\\] |" in markdown
    assert "stays: only 0 boxes; about 30 are needed" in markdown and "took no part" in markdown
    assert "Thresholds of onnxruntime INT8" in page and "a|&lt;b&gt;" in page and "a|<b>" not in page
    (line,) = thresholds.headlines(told)  # type: ignore[arg-type]
    assert line.startswith("Thresholds of onnxruntime INT8: a|<b> 0.5 to 0.400, 1 of 2 stay. Recall on the validation")


def test_recall_is_of_the_validation_set_where_there_is_one(tmp_path: Path) -> None:
    for validation in (True, False):
        of = content(validation=validation)
        (table,) = thresholds.tables(of)
        assert len(table.rows) == 3 and table.rows[-1][0] == "all"
        engine = of["engines"][0]
        at = engine["validation"] if validation else engine["at"]
        assert at is not None and at["base"]["recall"] is not None
        assert table.rows[-1][6].startswith(f"{100 * at['base']['recall']:.1f} / ")


def test_without_labels_it_is_called_agreement() -> None:
    said = thresholds.explained(content(by="fp32", validation=False))
    assert "no labelled training images" in said and "agreement with FP32" in said


def test_a_run_that_named_none_says_nothing_of_it(tmp_path: Path, context: FakeContext) -> None:
    told, text = report(context, whole(tmp_path))
    assert "thresholds" not in told and "Thresholds of" not in text
    assert thresholds.headlines(told) == []  # type: ignore[arg-type]


def test_a_damaged_result_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="engines is None where a list belongs"):
        thresholds.read([result(tmp_path / "moved", {**content(), "engines": None} | {"x": 1})])
