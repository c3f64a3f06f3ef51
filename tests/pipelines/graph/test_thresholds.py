"""Where thresholds are moved in the graph, by which images, and that nothing else changes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig
from pipelines.execution.node import Node, Ref
from pipelines.graph.compress import compress_graph
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.openvino.options import OpenVinoOptions
from stages.errors import ConfigError


@pytest.fixture
def config() -> PipelineConfig:
    made = PipelineConfig()
    made.data.kind = "shapes"
    made.model.name, made.model.labels = "m", ["circle", "square"]
    made.compression.method = "ptq"
    made.backend = {"openvino": OpenVinoOptions(variants=["fp32", "int8"]), "onnxruntime": OnnxRuntimeOptions()}
    made.thresholds.score = 0.4
    return made


def graph(config: PipelineConfig) -> dict[str, Node]:
    return {node.id: node for node in compress_graph(config, None, threads=3)}


def test_each_backend_moves_them_by_training_labels_and_shows_them_on_the_validation_set(
    config: PipelineConfig,
) -> None:
    nodes = graph(config)
    node = nodes["thresholds.openvino"]
    assert node.inputs["engines"] == [Ref("build.openvino.fp32"), Ref("build.openvino.int8")]
    assert (node.inputs["labeled"], node.inputs["images"]) == (Ref("labels.train"), None)
    assert node.inputs["scored"] == [Ref("accuracy.openvino.fp32"), Ref("accuracy.openvino.int8")]
    assert node.inputs["validation"] == Ref("labels.val")
    assert (node.options.score, node.origins["score"], node.cores) == (0.4, "thresholds.score", 3)
    assert "thresholds.onnxruntime" in nodes
    assert list(nodes).index("labels.train") < list(nodes).index("thresholds.openvino")
    assert node.work is not None


def test_without_training_labels_unlabelled_images_take_their_place(config: PipelineConfig, tmp_path: Path) -> None:
    config.data.kind = "coco"
    config.data.unlabeled_images = str(tmp_path)
    node = graph(config)["thresholds.openvino"]
    assert (node.inputs["labeled"], node.inputs["images"]) == (None, Ref("images.unlabeled"))
    assert "scored" not in node.inputs and "validation" not in node.inputs


def test_unless_one_is_named_the_graph_is_as_it_was(config: PipelineConfig) -> None:
    asked = graph(config)
    config.thresholds.score = None
    plain = graph(config)
    assert {name for name in asked if name not in plain} == {
        "labels.train", "thresholds.openvino", "thresholds.onnxruntime",
    }  # fmt: skip
    assert {name: asked[name] for name in plain} == plain


def test_single_classes_are_enough_and_the_others_have_the_models(config: PipelineConfig) -> None:
    config.thresholds.score, config.thresholds.classes = None, ["square:0.7"]
    config.model.draw_threshold = 0.35
    node = graph(config)["thresholds.openvino"]
    assert (node.options.score, node.options.classes) == (0.35, ["square:0.7"])
    assert node.origins["score"] == "model.draw_threshold"


def test_a_class_that_the_model_does_not_have_is_refused_before_anything_runs(config: PipelineConfig) -> None:
    config.thresholds.classes = ["sqare:0.7"]
    with pytest.raises(ConfigError, match=r"thresholds.classes: the model has no class sqare; did you mean square\?"):
        graph(config)


def test_where_all_engines_are_fp32_there_is_nothing_to_move(config: PipelineConfig) -> None:
    config.compression.method = "none"
    config.backend = {"openvino": OpenVinoOptions(variants=["fp32"])}
    with pytest.raises(ConfigError, match="nothing to move it to"):
        graph(config)


def test_classes_are_given_by_name_on_the_command_line() -> None:
    given = ["experiment=demo", "thresholds.score=0.5", "thresholds.classes=[circle:0.4,'red star:0.6']"]
    config, _ = hydra_command.one("compress", given)
    assert (config.thresholds.score, config.thresholds.classes) == (0.5, ["circle:0.4", "red star:0.6"])
    with pytest.raises(ConfigError) as refused:
        hydra_command.one("compress", ["experiment=demo", "thresholds.score=2", "thresholds.classes=[circle:7]"])
    assert "thresholds.score: 2.0 does not fit" in str(refused.value)
    assert "NAME:SCORE with scores from 0 to 1" in str(refused.value)
