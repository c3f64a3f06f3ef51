"""Where the search stands in the graph, and what it is judged on."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.inputs import _blocks
from pipelines.config.schema import PipelineConfig
from pipelines.execution.node import Ref
from pipelines.graph.compress import compress_graph, sensitivity_graph
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.openvino.options import OpenVinoOptions


@pytest.fixture
def config() -> PipelineConfig:
    made = PipelineConfig()
    made.data.kind = "shapes"
    made.model.name = "m"
    made.compression.method = "auto"
    made.backend = {"openvino": OpenVinoOptions(), "onnxruntime": OnnxRuntimeOptions(threads=2)}
    return made


def test_the_search_stands_in_the_place_of_the_distillation(config: PipelineConfig) -> None:
    nodes = {node.id: node for node in compress_graph(config, None, threads=1)}
    assert "distill" not in nodes
    assert nodes["export.int8"].inputs["model"] == Ref("search")
    assert nodes["build.openvino.int8"].inputs["model"] == Ref("export.int8")
    assert list(nodes).index("labels.train") < list(nodes).index("search")


def test_it_is_judged_on_training_labels_by_one_backend(config: PipelineConfig) -> None:
    search = next(node for node in compress_graph(config, None, threads=1) if node.id == "search")
    assert search.inputs["labeled"] == Ref("labels.train")
    assert (search.options.backend, search.options.options["threads"]) == ("onnxruntime", 2)
    assert search.origins["max_drop"] == "compression.max_drop"
    config.sensitivity.backend = "openvino"
    search = next(node for node in compress_graph(config, None, threads=1) if node.id == "search")
    assert search.options.backend == "openvino"


def test_the_validation_set_is_never_judged_on(config: PipelineConfig, tmp_path: Path) -> None:
    config.data.kind = "coco"
    config.data.val_annotations, config.data.val_images = str(tmp_path / "val.json"), str(tmp_path)
    (tmp_path / "val.json").write_text('{"images": [], "annotations": [], "categories": []}')
    config.data.unlabeled_images = str(tmp_path)
    nodes = {node.id: node for node in compress_graph(config, None, threads=1)}
    assert nodes["search"].inputs["labeled"] is None
    assert "labels.train" not in nodes


def test_the_training_labels_of_a_fine_tuning_are_collected_once(config: PipelineConfig) -> None:
    config.finetune.enabled = True
    nodes = [node.id for node in compress_graph(config, None, threads=1)]
    assert nodes.count("labels.train") == 1
    assert len([node for node in sensitivity_graph(config, None, threads=1) if node.id == "labels.train"]) == 1


def test_a_limit_on_float_blocks_of_its_own_is_refused(config: PipelineConfig) -> None:
    assert list(_blocks(config)) == []
    config.compression.max_map_drop = 0.5
    assert [(one.key, "give compression.max_drop" in one.text) for one in _blocks(config)] == [
        ("compression.max_map_drop", True)
    ]
    config.compression.max_map_drop, config.sensitivity.backend = None, "tensorrt"
    assert [one.key for one in _blocks(config)] == ["sensitivity.backend"]
