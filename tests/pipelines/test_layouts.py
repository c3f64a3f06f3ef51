"""One data set in COCO, YOLO, VOC and Roboflow's layout, from the command's config to the report: the same numbers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from pipelines import compress
from pipelines.config.schema import PipelineConfig
from pipelines.config.user_data import resolve
from pipelines.execution.events import NullObserver
from stages.options.data import DataOptions
from tests.pipelines import small
from tests.stages.data.formats.test_readers import WRITERS

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compress, "compress_graph", small.small_graph)


def configured(folder: Path, data: DataOptions) -> PipelineConfig:
    assert resolve(data) == []
    config = small.small_config(folder)
    config.tracking.enabled, config.latency.runs, config.latency.rounds = False, 10, 1
    return dataclasses.replace(config, data=data)


def rows(config: PipelineConfig) -> list[dict[str, Any]]:
    outcome = compress.run_compress(config, command=["detpress", "compress"], observers=[NullObserver()])
    assert outcome.exit_code == 0 and outcome.path is not None
    found: list[dict[str, Any]] = json.loads(outcome.path.read_text())["rows"]
    return found


def test_every_layout_gives_the_same_map_to_the_last_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coco = tmp_path / "coco"
    small.draw(coco, "train", 6, seed=1)
    small.draw(coco, "val", 8, seed=2)
    small.weights(tmp_path, 1.0, "")
    scores = {}
    for kind in ("coco_folder", *WRITERS):
        root = WRITERS[kind](coco, tmp_path / kind) if kind in WRITERS else coco
        scores[kind] = [row["map"] for row in rows(configured(tmp_path, DataOptions(kind="auto", root=str(root))))]
        assert "6 training and 8 validation images under" in capsys.readouterr().err or kind == "coco_folder"
    assert 0 < scores["coco_folder"][0] < 100
    assert len({str(found) for found in scores.values()}) == 1, scores
