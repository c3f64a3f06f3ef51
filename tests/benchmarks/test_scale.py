"""The data set of `make bench-scale`."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from stages.data.collect import CollectLabeled, CollectUnlabeled
from stages.options.data import CollectOptions
from tests.benchmarks import scale
from tests.fakes import FakeContext
from tests.stages.qdq import detector


def test_links_stand_for_a_large_set_that_a_run_accepts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "DRAWN", 3)
    scale.data_set(tmp_path, 8, 7, 64)
    options = CollectOptions(annotations=str(tmp_path / "val.json"), images=str(tmp_path / "val"))
    labels = CollectLabeled(options).run(CollectLabeled.Inputs(), FakeContext(tmp_path / "a"))
    assert labels.images == 7
    coco = json.loads((tmp_path / "val.json").read_text())
    of = [[a["bbox"] for a in coco["annotations"] if a["image_id"] == i] for i in range(7)]
    assert of[0] == of[3] == of[6] and of[1] == of[4] and of[0] != of[1]
    assert len({a["id"] for a in coco["annotations"]}) == labels.boxes == sum(map(len, of))
    context = FakeContext(tmp_path / "b")
    inputs = CollectUnlabeled.Inputs(validation=labels)  # no image is in both
    images = CollectUnlabeled(CollectOptions(images=str(tmp_path / "unlabeled"))).run(inputs, context)
    assert images.count == 8 and context.warnings == []
    assert (tmp_path / "unlabeled" / "000000.jpg").stat().st_nlink == 4  # its picture, and three of eight


def test_seconds_are_read_from_the_records_of_a_store(tmp_path: Path) -> None:
    for node, stage in (("accuracy.onnxruntime.fp32", "accuracy-1"), ("report", "report-1")):
        folder = tmp_path / stage
        folder.mkdir()
        record = {"node": node, "seconds": 1.234, "artifact": {"files": {"a": "b"}}}
        (folder / "entry.json").write_text(json.dumps(record))
    seconds, files = scale.computed(tmp_path)
    assert seconds == {"accuracy.onnxruntime.fp32": 1.23, "report": 1.23}
    assert files == {"accuracy.onnxruntime.fp32": '{"a": "b"}'}


def test_the_ceiling_is_what_processes_do_that_share_nothing(tmp_path: Path) -> None:
    scale.data_set(tmp_path, 2, 2, 64)
    images = sorted((tmp_path / "unlabeled").iterdir())
    assert scale.ceiling(images, 1, rounds=1, seconds=0.3) > 0
    decoded = scale.looped(images, 2, 0.3)
    assert decoded > 2
    onnx.save(detector(64, 3, quantized=False), str(tmp_path / "model.onnx"))
    assert 0 < scale.looped(images, 2, 0.3, str(tmp_path / "model.onnx")) < decoded
