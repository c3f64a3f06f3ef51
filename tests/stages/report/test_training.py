"""The curves of what was trained, read from the stages' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import Checkpoint, QuantizedModel, hash_files
from stages.errors import InputError
from stages.options.report import ReportOptions
from stages.report import training
from stages.report.report import ReportStage
from tests.fakes import FakeContext
from tests.stages.report.test_report import everything

LOSS = [{"step": step, "loss": 12 - step / 10, "lr": 1e-5} for step in (10, 20, 30)]


def quantized(folder: Path, history: Any, scores: Any = None) -> QuantizedModel:
    folder.mkdir(parents=True)
    (folder / "history.json").write_text(json.dumps(history))
    if scores is not None:
        (folder / "scores.json").write_text(json.dumps(scores))
    return QuantizedModel(root=folder, files=hash_files(folder), method="qat_distill", steps=30, images=64)


def test_the_curve_and_the_scores_are_read(tmp_path: Path) -> None:
    scores = {"best": 20, "scores": [{"step": 10, "eval_loss": 3.0}, {"step": 20, "eval_loss": 2.5}]}
    (found,) = training.read([quantized(tmp_path / "q", LOSS, scores)], [])
    assert [p["value"] for p in found["loss"]] == [11, 10, 9] and (found["steps"], found["images"]) == (30, 64)
    assert (found["what"], found["best"]) == ("eval_loss", 20) and found["scores"][1] == {"step": 20, "value": 2.5}
    axes = training.draw(found).axes
    assert [len(a.lines) for a in axes] == [2, 1]  # the loss and the step that was kept; the scores


def test_quantization_without_training_has_no_curve(tmp_path: Path) -> None:
    assert training.read([quantized(tmp_path / "q", [])], []) == []
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "model.pdparams").write_bytes(b"")
    assert training.read([], [Checkpoint(root=tmp_path / "c", files=hash_files(tmp_path / "c"))]) == []


def test_a_damaged_curve_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"history\.json"):
        training.read([quantized(tmp_path / "q", {"step": 1})], [])


def test_the_page_shows_the_curve(tmp_path: Path, context: FakeContext) -> None:
    inputs = everything(tmp_path)
    inputs = ReportStage.Inputs(**{**vars(inputs), "compressed": [quantized(tmp_path / "q", LOSS)]})
    made = ReportStage(ReportOptions()).run(inputs, context)
    text = made.path("report.html").read_text()
    assert "<h3>Training</h3>" in text and "30 steps on 64 images" in text and "report-curve-distill.png" in made.files
