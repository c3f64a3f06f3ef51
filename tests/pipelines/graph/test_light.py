"""A lighter float model in the graph: where it stands, what it changes, and that nothing changes without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.node import Node, Ref
from pipelines.execution.plan import shorter, survey
from pipelines.graph.compress import compress_graph, sensitivity_graph
from pipelines.graph.work import sized
from pipelines.store.local import Store
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.codec import to_json


@pytest.fixture
def config() -> PipelineConfig:
    made = PipelineConfig()
    made.data.kind, made.model.name = "shapes", "m"
    made.backend = {"onnxruntime": OnnxRuntimeOptions()}
    return made


def graph(config: PipelineConfig) -> dict[str, Node]:
    return {node.id: node for node in compress_graph(config, None, threads=1)}


@pytest.mark.parametrize("value", [None, "keep"])
def test_without_it_there_is_no_such_node(config: PipelineConfig, value: str | None) -> None:
    config.compression.activation = value
    nodes = graph(config)
    assert ids.LIGHTEN not in nodes
    assert nodes["distill"].inputs["model"] == Ref("export.fp32")


def test_no_option_of_it_is_in_another_stages_key(config: PipelineConfig) -> None:
    before = {name: to_json(node.options) for name, node in graph(config).items()}
    own = config.compression
    own.activation_head, own.light_steps, own.light_lr, own.light_blocks = True, 7, 0.5, 0.0
    own.light_images = own.images
    assert {name: to_json(node.options) for name, node in graph(config).items()} == before
    own.activation = "relu"
    after = {name: to_json(node.options) for name, node in graph(config).items()}
    assert set(after) - set(before) == {"lighten"}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("method", ["qat_distill", "ptq", "auto"])
def test_what_quantizes_takes_the_lighter_model_and_fp32_stays_the_original(
    config: PipelineConfig, method: str
) -> None:
    config.compression.activation, config.compression.method = "relu", method
    nodes = graph(config)
    assert list(nodes).index("export.fp32") < list(nodes).index("lighten")
    assert nodes["lighten"].inputs == {"model": Ref("export.fp32"), "images": Ref("images.unlabeled")}
    assert nodes["search" if method == "auto" else "distill"].inputs["model"] == Ref("lighten")
    assert nodes["build.onnxruntime.fp32"].inputs["model"] == Ref("export.fp32")
    assert nodes["build.onnxruntime.int8"].inputs["model"] == Ref("export.int8")
    assert nodes["lighten"].seeded


def test_it_learns_on_what_its_steps_see_however_few_the_ranges_are_observed_on(config: PipelineConfig) -> None:
    own = config.compression
    own.prune, own.images, own.light_steps, own.batch = 0.3, 64, 1000, 4
    nodes = graph(config)
    assert list(nodes).index("images.lighten") < list(nodes).index("lighten")
    assert nodes["lighten"].inputs["images"] == Ref("images.lighten")
    learned, ranges = nodes["images.lighten"], nodes["images.unlabeled"]
    assert (learned.options.sample, ranges.options.sample) == (4000, 64)
    assert learned.origins["sample"] == "compression.light_images"
    assert (learned.inputs, learned.stage, learned.seeded) == (ranges.inputs, ranges.stage, ranges.seeded)
    assert nodes["distill"].inputs["images"] == nodes["export.fp32"].inputs["images"] == Ref("images.unlabeled")


@pytest.mark.parametrize(
    ("images", "asked", "steps", "sample"),
    [
        (None, None, 1000, None),  # the run's own are all there are
        (4000, None, 1000, None),
        (3999, None, 1000, 4000),
        (64, None, 0, None),
        (64, 64, 1000, None),
        (64, 100, 1000, 100),
        (None, 100, 1000, 100),
    ],
)
def test_its_sample_is_the_runs_own_where_that_is_enough(
    config: PipelineConfig, images: int | None, asked: int | None, steps: int, sample: int | None
) -> None:
    own = config.compression
    own.prune, own.images, own.light_images, own.light_steps, own.batch = 0.3, images, asked, steps, 4
    nodes = graph(config)
    found = nodes.get("images.lighten")
    assert (found and found.options.sample) == sample
    assert nodes["lighten"].inputs["images"] == Ref("images.lighten" if sample else "images.unlabeled")


def test_blocks_in_float_are_those_of_the_lighter_model(config: PipelineConfig) -> None:
    config.compression.prune, config.compression.max_map_drop = 0.3, 0.5
    assert graph(config)["float_blocks"].inputs["base"] == Ref("lighten")
    analysed = {node.id: node for node in sensitivity_graph(config, None, threads=1)}
    assert analysed["sensitivity"].inputs["base"] == Ref("lighten")


def test_its_options_come_from_the_compression(config: PipelineConfig) -> None:
    own = config.compression
    own.activation, own.light_steps, own.light_lr, own.batch, own.steps = "hardswish", 7, 0.5, 3, 9
    config.export.opset = 14
    node = graph(config)["lighten"]
    o = node.options
    assert (o.activation, o.steps, o.lr, o.batch, o.opset) == ("hardswish", 7, 0.5, 3, 14)
    assert node.origins["steps"] == "compression.light_steps" and node.origins["batch"] == "compression.batch"
    (planned,) = sized([node], config.model)
    assert planned.work is not None


def test_a_plan_shows_it_and_how_to_try_it_first(config: PipelineConfig, tmp_path: Path) -> None:
    config.compression.activation = "relu"
    steps = {step.node.id: step for step in survey(list(graph(config).values()), Store(tmp_path), 0)}
    assert not steps["lighten"].cached and steps["lighten"].reasons
    assert shorter(steps["lighten"].node) == "compression.light_steps=50"
