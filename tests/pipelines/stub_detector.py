"""``detpress`` on the small detector (`tests/pipelines/small.py`), whose export is a stub: nothing loads Paddle."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import pipelines.compress
from pipelines.commands import plan
from pipelines.retraining import challenge, snapshot
from tests.pipelines import small

EXPERIMENT = "own"


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """The commands of this process make the graph of the small detector."""
    for module in (pipelines.compress, challenge, snapshot, plan):
        patch.setattr(module, "compress_graph", small.small_graph)


def write_experiment(folder: Path, root: Path) -> None:
    """``--config-dir=FOLDER experiment=own``: the small detector on images under ``root``, measured in seconds."""
    content = {
        "model": {"name": "blocks", "input_size": [small.SIZE, small.SIZE], "mean": [0, 0, 0], "std": [1, 1, 1],
                  "weights": str(root / "model.pdparams"), "labels": ["block"]},
        "data": {"root": str(root)},
        "backend": {"onnxruntime": {"tune": False}},
        "latency": {"warmup": 0, "runs": 10, "rounds": 2, "warmup_seconds": 0.0, "images": 2, "retries": 0,
                    "max_rounds": 2},
        "accuracy": {"draws": 100, "worst": 0},
        "gate": {"champion": {"min_speedup": None}},  # a crowded machine shows nothing about microseconds
        "registry": {"golden": 2},
    }  # fmt: skip
    chosen = [{"override /data": "coco_folder"}, {"override /compression": "none"}]
    chosen.append({"override /backend": ["onnxruntime"]})  # type: ignore[dict-item]
    (folder / "experiment").mkdir(parents=True, exist_ok=True)
    text = "# @package _global_\n" + yaml.safe_dump({"defaults": chosen, **content}, sort_keys=False)
    (folder / "experiment" / f"{EXPERIMENT}.yaml").write_text(text)
