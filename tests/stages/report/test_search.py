"""The path of a search, in the report for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from stages.artifacts import QuantizedModel, hash_files
from stages.errors import InputError
from stages.report import search
from stages.search.content import content
from stages.search.escalation import HOLDS, Limits, Outcome
from stages.search.judgement import DISTANCE, Judgement
from stages.search.ledger import DISTILL, RANGES, Step, Tried
from tests.fakes import FakeContext
from tests.stages.report.test_report import report, whole

LIMITS = Limits(0.5, 7200, ("avg", "KL"), 250, 1000)
PATH = [
    Tried(Step(RANGES, "avg"), 10.0, Judgement(0.9, 0.4, 1.4, 100)),
    Tried(Step(RANGES, "KL"), 5.0, failed="not <finite>"),
    Tried(Step(DISTILL, "avg", 250), 100.0, Judgement(0.1, -0.2, 0.4, 100)),
]


def searched(root: Path, outcome: Outcome) -> QuantizedModel:
    root.mkdir()
    (root / "search.json").write_text(json.dumps(content(outcome, LIMITS, "onnxruntime")))
    return QuantizedModel(root=root, files=hash_files(root), method="auto", steps=250, images=9)


def test_the_report_shows_the_path_and_what_so_many_images_do_not_say(tmp_path: Path, context: FakeContext) -> None:
    inputs = replace(whole(tmp_path), compressed=[searched(tmp_path / "searched", Outcome(PATH[2], HOLDS, PATH))])
    told, _ = report(context, inputs, method="auto")
    assert [step["at"] for step in told["search"]["path"]] == [10, 15, 115]
    markdown = (context.out / "report.md").read_text()
    page = (context.out / "report.html").read_text()
    assert "compression.max_drop=0.5 holds with distillation 250 from avg, step 3 tried" in markdown
    assert "100 images do not tell its drop apart from zero; about 900 would" in page
    assert "distillation 250 from avg (chosen)" in page and "failed: not &lt;finite&gt;" in page
    assert (context.out / "report-search.png").stat().st_size > 1000


def test_a_run_without_a_search_says_nothing_of_it(tmp_path: Path, context: FakeContext) -> None:
    told, _ = report(context, whole(tmp_path))
    assert "search" not in told
    assert "compression=auto" not in (context.out / "report.html").read_text()


def test_distances_are_called_so(tmp_path: Path) -> None:
    judged = Tried(Step(RANGES, "avg"), 10.0, Judgement(0.1, 0.05, 0.2, 30, DISTANCE))
    found = search.read([searched(tmp_path / "searched", Outcome(judged, HOLDS, [judged]))])
    assert found is not None
    assert search.table(found).header[1] == "Distance"
    assert "unlabeled images, by the distance of outputs" in search.explained(found)


def test_a_damaged_path_is_no_report(tmp_path: Path) -> None:
    model = searched(tmp_path / "searched", Outcome(PATH[2], HOLDS, PATH))
    model.path("search.json").write_text('{"path": 3}')
    with pytest.raises(InputError, match="schema_version is missing"):
        search.read([model])
