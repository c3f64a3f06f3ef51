"""How much work a model is: as PaddleDetection publishes it, without building it; and the nodes that it is noted at."""

from __future__ import annotations

import pytest

from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.schema import PipelineConfig
from pipelines.execution.node import Work
from pipelines.graph.compress import compress_graph
from pipelines.graph.work import PER_IMAGE, PER_MODEL, size_of, sized

GFLOPS = {"ppyoloe_s": 17.36, "ppyoloe_m": 49.91, "ppyoloe_l": 110.07, "ppyoloe_x": 206.59}
"""As PaddleDetection publishes them, a multiplication and an addition counted apart, at 640x640."""


def config(model: str, *more: str) -> PipelineConfig:
    overrides = [f"model={model}", "model.random_weights=true", *more]
    command = Command(overrides=overrides, multirun=False, config_dir=None, config_path=None, config_name="config",
                      finetune_only=False)  # fmt: skip
    return check_command(command, inputs=False)[0]


@pytest.mark.parametrize("name", GFLOPS)
def test_it_is_what_is_published(name: str) -> None:
    model = config(name).model
    found = size_of(model)
    assert found is not None
    assert found.parameters == pytest.approx(model.parameters, rel=0.01)
    assert 2e-9 * found.multiply_adds == pytest.approx(GFLOPS[name], rel=0.01)


def test_it_grows_with_the_image() -> None:
    large, small = (size_of(config("ppyoloe_s", f"model.input_size=[{side},{side}]").model) for side in (640, 320))
    assert large is not None and small is not None and large.parameters == small.parameters
    assert large.multiply_adds == pytest.approx(4 * small.multiply_adds, rel=0.01)


def test_of_another_architecture_nothing_is_said() -> None:
    model = config("ppyoloe_s").model
    model.architecture = {**model.architecture, "YOLOv3": {"backbone": "DarkNet"}}
    assert size_of(model) is None
    del (other := config("ppyoloe_s").model).architecture["CSPResNet"]
    assert size_of(other) is None


def test_the_stages_that_work_on_the_model_say_how_much() -> None:
    chosen = config("ppyoloe_s", "compression.batch=2")
    nodes = {node.id: node for node in compress_graph(chosen, None, threads=2)}
    found = size_of(chosen.model)
    assert found is not None
    size = float(found.parameters)
    assert nodes["draw"].work is None and nodes["compare.onnxruntime"].work is None
    assert nodes["export.fp32"].work == Work("ppyoloe_s", size + PER_MODEL, size)
    assert nodes["distill"].work == Work("ppyoloe_s", 2 * (found.multiply_adds + PER_IMAGE), size)
    assert (found_work := nodes["accuracy.onnxruntime.int8"].work) is not None and found_work.parameters is None
    assert {node.stage for node in nodes.values() if node.work} == {
        "export", "distill", "build", "latency", "profile", "accuracy", "detect",
    }  # fmt: skip
    chosen.model.architecture = {}
    assert sized([nodes["distill"]], chosen.model)[0].work == Work("ppyoloe_s")
