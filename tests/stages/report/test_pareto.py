"""The frontier of many runs: only among times that compare, never over a disturbed one; the page draws the same."""

from __future__ import annotations

import json
import re

import pytest

from stages.report import pareto
from tests import browser
from tests.stages.report.test_trend import SHARED


def point(run: str, ms: float, score: float, group: str = "g", wrong: str = "", model: str = "m") -> pareto.Point:
    return {"run": run, "model": model, "data": "d", "backend": "b", "precision": "int8", "group": group, "ms": ms,
            "ms_bounds": [0.9 * ms, 1.1 * ms], "map": score, "map_bounds": None, "wrong": wrong}  # fmt: skip


POINTS = [
    point("slow and good", 20, 50),
    point("beaten", 21, 49),
    point("fast", 10, 40),
    point("as fast, worse", 10, 39),
    point("disturbed", 5, 60, wrong=SHARED),
    point("alone on another machine", 30, 30, group="h", model="n"),
]
BEST = ["slow and good", "fast", "alone on another machine"]


def test_the_frontier_is_of_each_group_and_of_valid_timings() -> None:
    assert [p["run"] for p, best in zip(POINTS, pareto.frontier(POINTS), strict=True) if best] == BEST
    assert [row[-1] for row in pareto.table(POINTS).rows] == ["fast", "slow and good", "alone on another machine"]


def test_names_cannot_leave_the_data_of_the_page() -> None:
    hostile = "</script><script>document.title='owned'</script><!--"
    page = pareto.page([point(hostile, 1, 2, group=hostile, model=hostile)])
    assert "</script><script>" not in page and "<!--" not in page
    (data,) = re.findall(r'<script type="application/json" id="points">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data)[0]["run"] == hostile


@pytest.mark.skipif(browser.missing() is not None, reason=str(browser.missing()))
def test_the_page_draws_filters_and_asks_no_network() -> None:
    with browser.page() as (page, errors):
        page.set_content(pareto.page(POINTS))
        assert page.locator("#plot circle").count() == len(POINTS)
        assert page.locator('#plot circle[fill="var(--card)"]').count() == 1
        assert sorted(page.locator("#rows tr td:last-child").all_text_contents()) == sorted(BEST)
        page.select_option("#model", "n")
        assert page.locator("#rows tr td:last-child").all_text_contents() == ["alone on another machine"]
        assert page.locator("#plot circle").count() == 1
        assert errors == []
