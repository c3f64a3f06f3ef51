"""The search for float blocks, on a bench whose engines are numbers; and the words for what came of it."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.runs.tables import print_tables
from stages.artifacts import FLOAT_BLOCKS_FILE, ExportedModel, Precision, Report, hash_files
from stages.errors import ConfigError
from stages.mixed_precision import float_blocks
from stages.mixed_precision.float_blocks import FloatBlocks, FloatBlocksInputs, Search
from stages.mixed_precision.ranking import Damage
from stages.mixed_precision.sensitivity import describe, write
from stages.mixed_precision.workbench import ImageSet
from stages.options.report import ReportOptions
from stages.options.sensitivity import FloatBlocksOptions
from stages.report import float_blocks as words
from stages.report.report import ReportStage
from tests.fakes import FakeContext

COSTS = {"a": 2.0, "b": 1.0, "c": 0.3, "d": 0.0}
"""Block -> points of mAP that it costs in INT8."""


class NumberBench:
    """Costs add up; a block in float makes the engine slower by a tenth."""

    base = "fp32"
    model = "int8"

    def __init__(self, costs: dict[str, float]) -> None:
        self.costs = costs
        self.blocks = {name: [name] for name in costs}
        self.forgotten: list[Any] = []
        self.load = 0.0

    def share(self, block: str) -> float:
        return 1 / len(self.blocks)

    def export(self, floats: Collection[str]) -> Any:
        return tuple(floats)

    def build(self, model: Any, *, tune: bool) -> Any:
        return SimpleNamespace(of=model)

    def forget(self, *made: Any) -> None:
        self.forgotten += made

    def evaluate(self, engine: Any, pictures: ImageSet) -> Any:
        if engine.of == "fp32":
            return SimpleNamespace(map=50.0)
        floats = () if engine.of == "int8" else engine.of
        return SimpleNamespace(map=50.0 - sum(cost for name, cost in self.costs.items() if name not in floats))

    def speed(self, base: Any, engine: Any, pictures: ImageSet) -> tuple[float, float]:
        count = 0 if engine.of == "int8" else len(engine.of)
        ratio = 2.0 - 0.1 * count
        self.load += 1.0  # the machine gets slower; what a block costs must not hang on it
        return ratio, 10 * self.load


@pytest.fixture
def ranked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The order in which the blocks are ranked; a test may change it. Empty lists are never asked for."""
    order: list[str] = []

    def rank(*arguments: object) -> list[Damage]:
        assert order, "nothing had to be ranked"
        return [Damage(name, 1, 0.25, 0.1, COSTS.get(name), 0.0, 1.0) for name in order]

    monkeypatch.setattr(float_blocks, "rank", rank)
    return order


def search(context: FakeContext, drop: float, floor: float = 1.0) -> tuple[dict[str, Any], NumberBench]:
    bench, pictures = NumberBench(COSTS), ImageSet([Path("x")] * 7, {})
    options = FloatBlocksOptions(max_map_drop=drop, min_speedup=floor, labels="train")
    found = Search(bench, options, pictures, pictures, context)  # type: ignore[arg-type]
    return found.content(found.run()), bench


def test_int8_that_holds_is_left_as_it_is_and_nothing_is_ranked(context: FakeContext, ranked: list[str]) -> None:
    content, _ = search(context, 3.5)
    assert (content["met"], content["blocks"], content["ranking"]) == (True, [], None)
    assert content["int8_drop"] == pytest.approx(3.3)
    assert len(content["steps"]) == 1
    assert "every block quantized" in content["outcome"]


def test_the_worst_blocks_go_to_float_until_the_drop_holds(context: FakeContext, ranked: list[str]) -> None:
    ranked += ["a", "b", "c", "d"]
    content, _ = search(context, 0.5)
    assert content["met"]
    assert [one["block"] for one in content["blocks"]] == ["a", "b"]
    assert [one["gain"] for one in content["blocks"]] == pytest.approx([2.0, 1.0])
    assert content["blocks"][0]["ms_lost"] == pytest.approx(10 / 1.9 - 10 / 2.0)
    assert content["map_drop"] == pytest.approx(0.3)
    assert (content["int8_speedup"], content["speedup"]) == pytest.approx((2.0, 1.8))
    assert "left in float: a, b" in content["outcome"]
    assert "0.30 instead of 3.30" in content["outcome"]


def test_a_block_that_brings_nothing_goes_back_to_int8(context: FakeContext, ranked: list[str]) -> None:
    ranked += ["d", "b", "a", "c"]
    content, bench = search(context, 1.0)
    assert [one["block"] for one in content["blocks"]] == ["b", "a"]
    assert content["map_drop"] == pytest.approx(0.3)
    assert [step["blocks"] for step in content["steps"]][-2:] == [["d", "a"], ["b", "a"]]
    assert ("d", "b", "a") in bench.forgotten
    assert ("b", "a") not in bench.forgotten  # the model that comes out


def test_a_floor_on_the_speed_up_ends_the_search_and_int8_stays(context: FakeContext, ranked: list[str]) -> None:
    ranked += ["a", "b", "c", "d"]
    content, _ = search(context, 0.5, floor=1.85)
    assert not content["met"]
    assert content["blocks"] == []
    assert content["map_drop"] == content["int8_drop"]
    assert "was not met" in content["outcome"]
    assert "with 2 blocks in float it would be 1.80 times" in content["outcome"]
    assert "compression.min_speedup" in content["outcome"]
    below, _ = search(context, 0.5, floor=2.5)
    assert "INT8 itself is 2.00 times" in below["outcome"]


def test_a_drop_that_no_mixture_reaches_is_said(
    context: FakeContext, ranked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked += ["a", "b"]
    content, _ = search(context, 0.1)
    assert not content["met"]
    assert "not even with every block in float" in content["outcome"]
    assert "the best mixture tried has 2 blocks in float and loses 0.30" in content["outcome"]


def test_without_labels_it_is_a_config_error(context: FakeContext, tmp_path: Path) -> None:
    model = ExportedModel(root=tmp_path, precision=Precision.INT8, input_size=[64, 64])
    inputs = FloatBlocksInputs(model, model, images=None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"data\.val_annotations"):
        FloatBlocks(FloatBlocksOptions()).run(inputs, context)


def rows(drop: float) -> list[dict[str, Any]]:
    return [{"backend": "onnxruntime", "precision": "int8", "map_drop": drop}]


def test_the_report_says_where_it_was_decided_and_what_the_final_score_says(
    context: FakeContext, ranked: list[str]
) -> None:
    ranked += ["a", "b", "c", "d"]
    content, _ = search(context, 0.5)
    held = words.headline({"float_blocks": content, "rows": rows(0.4)})
    assert held.endswith("On the validation set the drop is 0.40.")
    missed = words.headline({"float_blocks": content, "rows": rows(0.8)})
    assert "On the validation set it is more than was asked: 0.80 on onnxruntime." in missed
    assert "took no part in the choice" in words.explained(content)
    assert "flattered by the choice" in words.explained({**content, "labels": "val"})
    assert words.headline({"float_blocks": None, "rows": []}) == ""
    titles = [one.title for one in words.tables({"float_blocks": content})]
    assert titles == ["Blocks left in float", "What was tried", "What each block costs in INT8"]
    assert words.block_table(content).rows[0] == ["a", "1", "25.0%", "+2.00", "+0.26"]


def reported(content: dict[str, Any], folder: Path, context: FakeContext) -> Report:
    """The report on a mixture."""
    folder.mkdir()
    (folder / FLOAT_BLOCKS_FILE).write_text(json.dumps(content))
    mixture = ExportedModel(root=folder, files=hash_files(folder), precision=Precision.INT8, input_size=[64, 64])
    return ReportStage(ReportOptions(model="m")).run(ReportStage.Inputs(mixtures=[mixture]), context)


def test_json_markdown_page_and_terminal_tell_it(
    context: FakeContext, ranked: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ranked += ["a", "b", "c", "d"]
    content, _ = search(context, 0.5)
    made = reported(content, tmp_path / "model", context)
    report = json.loads(made.path("report.json").read_text())
    assert report["float_blocks"] == content
    for name in ("report.md", "report.html"):
        text = made.path(name).read_text()
        assert "left in float: a, b" in text
        assert "took no part in the choice" in text
        assert "Output distance" in text
    assert "report-sensitivity.png" in made.files
    assert context.value("float_blocks") == 2
    print_tables(report)
    shown = capsys.readouterr().out
    assert "Blocks left in float" in shown and "left in float: a, b" in shown


def test_a_drop_that_was_not_met_is_marked_on_the_page(context: FakeContext, ranked: list[str], tmp_path: Path) -> None:
    ranked += ["a", "b", "c", "d"]
    content, _ = search(context, 0.5, floor=1.85)
    page = reported(content, tmp_path / "model", context).path("report.html").read_text()
    assert "not met" in page and "compression.min_speedup" in page
    plain = ReportStage(ReportOptions(model="m")).run(ReportStage.Inputs(), FakeContext(tmp_path / "plain"))
    assert "max_map_drop" not in plain.path("report.html").read_text()


def test_an_analysis_is_written_as_json_markdown_and_picture(tmp_path: Path) -> None:
    found = [Damage("worst", 2, 0.5, 0.3, 1.25, 0.5, 2.0), Damage("fine", 1, 0.5, 0.1, -0.5, None, None)]
    content = describe(found, FloatBlocksOptions(), "train", 7, 44.0)
    write(content, tmp_path)
    assert json.loads((tmp_path / "sensitivity.json").read_text()) == content
    text = (tmp_path / "sensitivity.md").read_text()
    assert "| worst | 2 | 50.0% | +1.25 | +0.50 to +2.00 | 0.3000 |" in text
    assert "7 labelled training images" in text and "44.0" in text
    assert (tmp_path / "sensitivity.png").read_bytes().startswith(b"\x89PNG")
    plain = describe([Damage("only", 1, 1.0, 0.2)], FloatBlocksOptions(), None, 7, None)
    write(plain, tmp_path)
    text = (tmp_path / "sensitivity.md").read_text()
    assert "7 unlabeled images" in text and "mAP" not in text
