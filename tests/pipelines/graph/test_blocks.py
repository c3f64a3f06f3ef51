"""Where the graph gets what judges single blocks, and what is built then."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines import sensitivity
from pipelines.config.auto import block_backend, block_labels
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.events import NullObserver
from pipelines.execution.node import Node, Ref
from pipelines.graph.compress import compress_graph, sensitivity_graph
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.openvino.options import OpenVinoOptions
from stages.distillation.distill import Distill
from stages.errors import ConfigError
from stages.options.sensitivity import SensitivityOptions
from stages.report.schema_blocks import BlockDamage
from stages.report.sensitivity import costly


@pytest.fixture
def config() -> PipelineConfig:
    made = PipelineConfig()
    made.data.kind = "shapes"
    made.model.name = "m"
    made.backend = {"openvino": OpenVinoOptions(), "onnxruntime": OnnxRuntimeOptions(threads=2)}
    return made


def by_id(nodes: list[Node]) -> dict[str, Node]:
    assert len({n.id for n in nodes}) == len(nodes)
    seen: set[str] = set()
    for node in nodes:
        assert set(node.upstream()) <= seen, f"{node.id} stands before what it needs"
        seen.add(node.id)
    return {n.id: n for n in nodes}


def test_without_a_drop_asked_for_nothing_stands_behind_the_export(config: PipelineConfig) -> None:
    nodes = by_id(compress_graph(config, None, threads=1))
    assert "float_blocks" not in nodes and "labels.train" not in nodes
    assert nodes["build.openvino.int8"].inputs["model"] == Ref("export.int8")


def test_every_backend_builds_from_the_model_with_float_blocks(config: PipelineConfig) -> None:
    config.compression.max_map_drop = 0.5
    config.sensitivity.verdict_images = 9
    nodes = by_id(compress_graph(config, None, threads=1))
    for backend in config.backend:
        assert nodes[f"build.{backend}.int8"].inputs["model"] == Ref("float_blocks")
        assert nodes[f"build.{backend}.fp32"].inputs["model"] == Ref("export.fp32")
    own = nodes["float_blocks"]
    assert own.inputs["labels"] == Ref("labels.train")
    assert own.inputs["validation"] == Ref("labels.val")
    o = own.options
    assert (o.backend, o.options["threads"], o.labels) == ("onnxruntime", 2, "train")
    assert (o.max_map_drop, o.min_speedup, o.verdict_images) == (0.5, 1.0, 9)
    assert "cpu" in own.fingerprint  # what was measured holds for this CPU


def test_a_training_collects_its_labels_once(config: PipelineConfig) -> None:
    config.compression.max_map_drop = 0.5
    config.finetune.enabled = True
    by_id(compress_graph(config, None, threads=1))  # asserts that no name comes twice


def test_calibration_images_of_their_own_are_collected_for_the_compression(
    config: PipelineConfig, tmp_path: Path
) -> None:
    assert by_id(compress_graph(config, None, threads=1))["distill"].inputs["calibration"] is None
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    config.data.calibration_images, config.compression.calibration_images = str(tmp_path), 7
    nodes = by_id(compress_graph(config, None, threads=1))
    own = nodes[ids.CALIBRATION]
    assert nodes["distill"].inputs["calibration"] == Ref(ids.CALIBRATION)
    assert nodes["distill"].inputs["images"] == Ref(ids.IMAGES)  # which it learns from
    assert (own.stage, own.options.images, own.options.sample) == ("collect_unlabeled", str(tmp_path), 7)
    assert own.inputs == {"validation": Ref(ids.LABELS_VAL)}  # those are refused, as everywhere
    assert own.origins["images"] == "data.calibration_images" and ids.set_name(own.id) == "calibration"
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint8))
    again = by_id(compress_graph(config, None, threads=1))[ids.CALIBRATION]
    assert again.options.listing != own.options.listing  # a changed folder is another key
    config.compression.method = "none"
    assert ids.CALIBRATION not in by_id(compress_graph(config, None, threads=1))


def test_the_analysis_stands_behind_the_int8_model(config: PipelineConfig) -> None:
    nodes = by_id(sensitivity_graph(config, None, threads=1))
    assert list(nodes)[-1] == "sensitivity"
    assert not any(name.startswith(("build", "latency", "accuracy")) for name in nodes)
    config.sensitivity.labels = "none"
    assert by_id(sensitivity_graph(config, None, threads=1))["sensitivity"].inputs["labels"] is None


def test_labels_that_the_final_score_does_not_use_come_first(config: PipelineConfig, tmp_path: Path) -> None:
    assert block_labels(config) == "train"
    config.data.kind, config.data.root = "coco_folder", str(tmp_path)
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        (tmp_path / f"{split}.json").touch()
        setattr(config.data, f"{split}_annotations", str(tmp_path / f"{split}.json"))
        setattr(config.data, f"{split}_images", str(tmp_path / split))
    assert block_labels(config) == "train"
    (tmp_path / "train.json").unlink()
    assert block_labels(config) == "val"
    config.data.val_annotations = None
    assert block_labels(config) == "none"


def test_onnx_runtime_judges_where_the_run_has_it(config: PipelineConfig) -> None:
    assert block_backend(config) == "onnxruntime"
    del config.backend["onnxruntime"]
    assert block_backend(config) == "openvino"
    config.sensitivity.backend = "paddle_inference"
    assert block_backend(config) == "paddle_inference"


def test_a_drop_asked_for_does_not_train_again(config: PipelineConfig) -> None:
    def options(drop: float | None) -> dict[str, object]:
        config.compression.max_map_drop = drop
        node = by_id(compress_graph(config, None, threads=1))["distill"]
        plain = dataclasses.asdict(node.options)
        return {k: v for k, v in plain.items() if k not in Distill.unkeyed}

    assert options(None) == options(0.5)


def test_the_command_leaves_the_analysis_in_the_runs_folder_and_prints_it(
    config: PipelineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def graph(*arguments: object, **more: object) -> list[Node]:
        stub = "tests.pipelines.stub_sensitivity:StubSensitivity"
        return [Node(id="sensitivity", stage=stub, options=SensitivityOptions())]

    monkeypatch.setattr(sensitivity, "sensitivity_graph", graph)
    config.run.artifacts = str(tmp_path)
    outcome = sensitivity.run_sensitivity(
        config, command=["detpress", "sensitivity", "seed=1"], observers=[NullObserver()]
    )
    assert outcome.exit_code == 0 and outcome.path is not None
    assert json.loads(outcome.path.read_text())["blocks"][0]["block"] == "neck.worst"
    assert {p.name for p in outcome.path.parent.glob("sensitivity.*")} == set(sensitivity.FILES)
    assert json.loads((outcome.path.parent / "run.json").read_text())["status"] == "FINISHED"
    shown = capsys.readouterr().out
    assert "neck.worst" in shown and "+1.25" in shown and "7 labelled training images" in shown
    end = shown.splitlines()[-3:]
    assert end[0].startswith("In INT8 these blocks cost mAP for certain: neck.worst (1.25 points)")
    assert end[1].startswith("The run took ")
    assert end[2].startswith("Next:   detpress compress seed=1 compression.max_map_drop=0.5  ")


def test_where_no_block_costs_map_for_certain_the_farthest_is_named() -> None:
    worst: BlockDamage = {
        "block": "neck", "layers": 1, "share": 0.1, "distance": 0.5, "map_drop": 0.3, "low": -0.1, "high": 0.7,
    }  # fmt: skip
    content: Any = {"labels": "val", "blocks": [worst, {**worst, "block": "head", "distance": 0.7}]}
    assert costly(content) == "No block costs mAP for certain; head changes the outputs most (distance 0.7000)."
    assert costly({**content, "labels": None}).startswith("Without labels no mAP was measured; head changes")
    assert costly({**content, "blocks": []}) == "No block was quantized."


def test_the_command_says_what_it_cannot_look_at(config: PipelineConfig, tmp_path: Path) -> None:
    config.run.artifacts = str(tmp_path)
    config.compression.method = "none"
    with pytest.raises(ConfigError, match="quantizes nothing; choose compression=ptq"):
        sensitivity.run_sensitivity(config, command=[])
    assert list(tmp_path.iterdir()) == []
