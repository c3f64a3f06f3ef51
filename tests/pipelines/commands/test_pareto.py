"""``detpress pareto``: all runs of a folder on one page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.cli import main
from tests.pipelines.drawn_runs import draw_runs


def test_every_engine_is_a_point_and_the_disturbed_stand_on_no_frontier(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = draw_runs(tmp_path, 60)
    reported = [folder for folder in folders if (folder / "report.json").is_file()]
    assert main(["pareto", "--json", "--artifacts", str(tmp_path)]) == 0
    points = json.loads(capsys.readouterr().out)["points"]
    assert len(points) == 4 * len(reported) and {p["run"] for p in points} == {folder.name for folder in reported}
    best = [p for p in points if p["frontier"]]
    assert {p["group"] for p in best} == {p["group"] for p in points} and not any(p["wrong"] for p in best)
    assert any(p["wrong"] for p in points)
    for p in best:
        assert not any(q["group"] == p["group"] and not q["wrong"] and q["ms"] < p["ms"] and q["map"] >= p["map"]
                       for q in points)  # fmt: skip


def test_the_table_fits_80_columns_and_the_page_is_the_last_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_runs(tmp_path, 20)
    assert main(["pareto", "--artifacts", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "pareto.html")
    assert max(map(len, lines[:-1])) <= 80
    assert len(Path(lines[-1]).read_bytes()) < 80_000 + 1000 * 20 * 4


def test_a_folder_without_such_runs_and_a_page_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pareto", "--artifacts", str(tmp_path)]) == 2
    assert "has an engine with both latency and mAP" in " ".join(capsys.readouterr().err.split())
    draw_runs(tmp_path, 2)
    assert main(["pareto", "--artifacts", str(tmp_path), "--out", "/dev/null/x"]) == 2
    assert "name another file with --out" in " ".join(capsys.readouterr().err.split())
