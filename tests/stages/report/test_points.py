"""Changes of mAP have one rounding and one sign, wherever they stand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stages.report import compare_runs, points
from stages.report.report import render
from tests.fakes import FakeContext
from tests.stages.report.test_compare_runs import row as compared_row
from tests.stages.report.test_report import everything, report


def scored(first: float, second: float, low: float | None = None, high: float | None = None) -> Any:
    difference = {"map": {"value": second - first, "low": low, "high": high}}
    return {"map": second, "map_drop": first - second, "difference": difference}


def test_a_change_is_that_of_the_numbers_as_they_are_shown() -> None:
    row = scored(39.949, 39.551)  # -0.398 by itself; shown as 39.9 and 39.6
    assert points.change_of(row) == -0.3
    row = scored(39.851, 39.649)  # -0.202, shown as 39.9 and 39.6
    assert points.change_of(row) == -0.3 and points.told(row) == "-0.3"
    assert points.told(scored(50.04, 49.96)) == "0.0" and points.signed(-0.04) == "0.0"


def test_an_interval_holds_the_change_as_it_is_shown() -> None:
    assert points.told(scored(39.851, 39.649, -0.22, -0.19)) == "-0.3 (-0.3 to -0.2)"
    assert points.told(scored(50.0, 50.0, 0.0, 0.31)) == "0.0 (0.0 to +0.3)"


def test_an_end_near_zero_keeps_its_sign_since_it_decides_whether_a_loss_is_certain() -> None:
    assert points.told(scored(50.0, 49.6, -0.8, -0.04)) == "-0.4 (-0.8 to -0.04)"
    assert points.told(scored(50.0, 49.6, -0.8, 0.004)) == "-0.4 (-0.8 to +0.004)"
    assert points.told(scored(50.0, 49.6, -0.8, 1e-9)) == "-0.4 (-0.8 to 0.0)"


def test_a_sentence_counts_what_its_verb_says() -> None:
    assert points.against_fp32(scored(50.0, 49.6, -0.8, -0.04)) == (
        "it loses 0.4 points against FP32 (95 %: +0.04 to +0.8)"
    )
    assert points.against_fp32(scored(50.0, 50.2, -0.1, 0.5)) == "it gains 0.2 points against FP32 (95 %: -0.1 to +0.5)"
    assert points.against_fp32(scored(50.0, 50.0)) == "it gains 0.0 points against FP32"
    assert points.against_fp32(scored(50.0, 49.98, -0.3, 0.2)) == (
        "it loses 0.0 points against FP32 (95 %: -0.2 to +0.3)"
    )


def test_an_upper_bound_is_never_shown_below_itself_and_on_its_side_of_the_limit() -> None:
    assert points.at_most(0.54, 1.0) == "0.6" and points.at_most(0.5, 1.0) == "0.5"
    assert points.at_most(0.54, 0.55) == "0.54" and points.at_most(0.51, 0.5) == "0.6"
    assert points.at_most(0.0, 0.5) == "0.0" and points.at_most(2.38, 1.0) == "2.4"
    assert float(points.at_most(0.123456, 0.123457)) == 0.1235  # no more digits than can matter


def test_a_row_that_was_not_scored_has_no_change() -> None:
    assert (
        points.change_of({**scored(1, 1), "map": None}) is None and points.told({**scored(1, 1), "map": None}) is None
    )


def test_markdown_page_and_a_comparison_say_the_same(tmp_path: Path, context: FakeContext) -> None:
    content, _ = report(context, everything(tmp_path))
    own = content["rows"][1]
    own["map"], own["map_drop"] = 39.649, 39.851 - 39.649
    content["rows"][0]["map"] = 39.851
    own["difference"]["map"] = {"value": -0.202, "low": -0.5, "high": 0.1}
    texts = render(content, context.out)
    for text in (texts["report.md"], re.sub("<[^>]*>", " ", texts["report.html"])):
        assert "-0.3 (-0.5 to +0.1)" in text and "-0.2 " not in text.partition("Terms")[0].partition("How it was")[0]
    (change,) = compare_runs.compare(
        {"rows": [compared_row([], 39.851)], "hardware": "h", "run_id": "20261127-120000-a"},
        {"rows": [compared_row([], 39.649)], "hardware": "h", "run_id": "20261127-120000-a"},
        lambda row: None,
    )
    assert compare_runs.table([change]).rows[0][2:5] == ["39.9", "39.6", "-0.3"]
    assert json.loads(texts["report.json"])["rows"][1]["map_drop"] == own["map_drop"]
