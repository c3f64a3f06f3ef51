"""The trend: a bar for the noise of each number, a hollow point for one that was measured while disturbed."""

from __future__ import annotations

from typing import Any

import matplotlib.colors

from stages.report import marks, trend

SHARED = "invalid: CPU shared with the load of other processes (77% of its time)"


def report(times: str, ratio: str) -> Any:
    row = {
        "backend": "b", "precision": "int8", "status": "ok", "map": 50.0, "matches": None, "engine_bytes": 2_000_000,
        "latency": {"runtime": {"median_ms": 8.6, "rounds_ms": [8.5, 8.6, 8.7]}, "end2end": None},
        "validity": {"runtime": times, "end2end": None}, "speedup": {"runtime": 2.0},
        "speedup_interval": {"runtime": [1.9, 2.1]}, "speedup_validity": {"runtime": ratio},
    }  # fmt: skip
    return {"run_id": "r", "hardware": "cpu", "rows": [row]}


def points(*verdicts: tuple[str, str]) -> list[trend.Point]:
    found: list[trend.Point] = []
    for times, ratio in verdicts:
        point = trend.point(report(times, ratio), "b", "int8", lambda row: None)
        assert point is not None
        found.append({**point, "started": "2026-01-01T08:00:00Z", "champion": False})
    return found


def hollow(axis: Any) -> list[bool]:
    """Of each point whether it is, in their order."""
    points = [(float(x), matplotlib.colors.to_hex(line.get_markerfacecolor()) == "#ffffff")
              for line in axis.lines if line.get_marker() == "o" for x in line.get_xdata()]  # fmt: skip
    assert [x for x, _ in sorted(points)] == list(range(len(points)))
    return [is_hollow for _, is_hollow in sorted(points)]


def test_disturbed_points_are_hollow_and_times_are_joined_by_no_line() -> None:
    made = points(("valid", "valid"), (SHARED, "valid"), (SHARED, SHARED))
    axes = dict(zip(trend.PANELS, trend.draw(made).axes, strict=True))
    assert hollow(axes["Runtime, ms"]) == [False, True, True]
    assert hollow(axes["Speed-up"]) == [False, False, True]
    assert hollow(axes["Engine, MB"]) == [False] * 3
    joined = {title for title, axis in axes.items() for line in axis.lines
              if line.get_linestyle() != "None" and list(line.get_xdata()) == [0, 1, 2]}  # fmt: skip
    assert joined == {"mAP, points", "Speed-up", "Engine, MB"}
    assert not any(axis.collections for axis in axes.values())  # bars, no bands


def test_the_table_has_the_mark() -> None:
    rows = trend.table(points(("valid", "valid"), (SHARED, SHARED))).rows
    assert [row[3].split(" (")[0] for row in rows] == ["8.60", "8.60*"]
    assert [row[4] for row in rows] == ["2.00 (1.90 to 2.10)", "2.00* (1.90 to 2.10)"]


def test_the_words_of_the_mark() -> None:
    assert marks.star(None) == marks.star("valid") == marks.while_disturbed("valid") == ""
    assert marks.while_disturbed(SHARED) == (
        " (measured while disturbed: CPU shared with the load of other processes (77% of its time))"
    )
