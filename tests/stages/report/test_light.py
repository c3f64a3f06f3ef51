"""What INT8's model was relieved of, in the report for people and for programs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import LIGHT_FILE, ExportedModel, Precision, hash_files
from stages.errors import InputError
from stages.report import light
from tests.fakes import FakeContext
from tests.stages.report.test_report import report, whole

TOLD: dict[str, Any] = {
    "schema_version": 1, "activation": "relu", "exchanged": 61, "kept": 6, "prune": None,
    "parameters": [2_000_000, 2_000_000], "multiply_adds": None, "steps": 40, "best": 30, "images": 9,
}  # fmt: skip


def lightened(root: Path, **changes: Any) -> ExportedModel:
    root.mkdir()
    (root / LIGHT_FILE).write_text(json.dumps({**TOLD, **changes}))
    (root / "history.json").write_text(json.dumps([{"step": 20, "loss": 2.0, "lr": 1e-3}, {"step": 40, "loss": 1.0}]))
    return ExportedModel(root=root, files=hash_files(root), precision=Precision.FP32, input_size=[64, 64])


def test_the_report_says_what_int8_is_compared_with(tmp_path: Path, context: FakeContext) -> None:
    told, markdown = report(context, replace(whole(tmp_path), lightened=[lightened(tmp_path / "light")]))
    assert told["lightened"] == TOLD
    assert "61 SiLU are ReLU, 6 stay" in markdown and "FP32 and what is compared with it are the original" in markdown
    page = (context.out / "report.html").read_text()
    assert "INT8 is of a lighter model" in page and "Making it lighter" in page
    assert [(one["stage"], one["steps"]) for one in told["training"]] == [("lighten", 40)]


def test_channels_that_went_are_told_with_what_is_left() -> None:
    content = {**TOLD, "exchanged": 0, "kept": 0, "prune": 0.3, "parameters": [2_000_000, 1_100_000]}
    content["multiply_adds"] = [4_000_000_000, 2_000_000_000]
    said = light.headline({"lightened": content})  # type: ignore[typeddict-item]
    assert "channels pruned: 1.10 of 2.00 million parameters and 50 % of the multiply-adds are left" in said
    assert "SiLU" not in said


def test_a_run_of_the_original_says_nothing_of_it(tmp_path: Path, context: FakeContext) -> None:
    told, markdown = report(context, whole(tmp_path))
    assert "lightened" not in told and "lighter" not in markdown


def test_a_damaged_file_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="exchanged"):
        light.read([lightened(tmp_path / "light", exchanged="all")])
