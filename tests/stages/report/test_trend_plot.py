"""The picture of the trend's page: what is joined, what is hollow, and that hundreds of runs are a handful of lines."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from stages.report.trend_plot import Dot, Panel, svg, ticks

SVG = "{http://www.w3.org/2000/svg}"


def dots(*values: float, valid: bool = True) -> list[Dot]:
    return [Dot(i, value, value - 1, value + 1, valid, i == 1) for i, value in enumerate(values)]


def paths(text: str, kind: str) -> list[str]:
    return [str(path.get("d")) for path in ElementTree.fromstring(text).iter(f"{SVG}path") if path.get("class") == kind]


def test_a_course_is_one_line_bars_are_another_and_every_run_has_its_point() -> None:
    text = svg([Panel("mAP", dots(48.0, 49.0, 47.5), True), Panel("ms", dots(9.0, 8.0, 7.0, valid=False), False)],
               [(0, "2026-01-01\n08:00")], 3, "trend")  # fmt: skip
    (course,), (mean, _ms) = paths(text, "course"), paths(text, "bars")
    assert course.count("L") == 2 and mean.count("V") == 3
    (valid,), hollow = paths(text, "valid"), paths(text, "hollow")
    assert valid.count("h0") == 3 and [d.count("h0") for d in hollow] == [3, 3]  # a ring: paper on top of a colour
    heights = [float(point.split()[1]) for point in valid.replace("h0", "").split("M")[1:]]
    assert heights[1] < heights[0] < heights[2]  # up is more
    stars = [e for e in ElementTree.fromstring(text).iter(f"{SVG}text") if e.text == "★"]
    assert len(stars) == 2
    assert "var(--c0,#2563eb)" in text  # follows the page into the dark


def test_a_thousand_runs_take_no_more_elements_than_ten() -> None:
    def count(runs: int) -> int:
        own = [Dot(i, float(i % 7), None, None, True, False) for i in range(runs)]
        return len(list(ElementTree.fromstring(svg([Panel("a", own, True)], [], runs, "t")).iter()))

    assert count(1000) == count(10)


@pytest.mark.parametrize("values", [(), (5.0,), (0.0, 0.0), (math.nan, 1.0), (math.inf,), (1e308, -1e308)])
def test_odd_numbers_make_a_picture_all_the_same(values: tuple[float, ...]) -> None:
    text = svg([Panel("<b>", dots(*values), True)], [(0, "<i>\n&")], len(values), 'a "label"')
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == 'a "label"' and "<b>" in [e.text for e in root.iter(f"{SVG}text")]
    assert sum(d.count("h0") for d in paths(text, "valid")) == sum(map(math.isfinite, values))


def test_lines_across_stand_at_round_numbers() -> None:
    assert ticks(0.0, 10.0) == [0.0, 2.5, 5.0, 7.5, 10.0]
    assert [round(t, 6) for t in ticks(47.9, 49.3)] == [48.0, 48.5, 49.0]
    assert ticks(1.0, 1.0) == [] and ticks(0.0, math.inf) == []
