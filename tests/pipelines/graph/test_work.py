"""How much work a model is, at the nodes that it is noted at."""

from __future__ import annotations

from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.schema import PipelineConfig
from pipelines.execution.node import Work
from pipelines.graph.compress import compress_graph
from pipelines.graph.work import PER_IMAGE, PER_MODEL, sized
from stages.detection.size import size_of


def config(model: str, *more: str) -> PipelineConfig:
    overrides = [f"model={model}", "model.random_weights=true", *more]
    command = Command(overrides=overrides, multirun=False, config_dir=None, config_path=None, config_name="config",
                      finetune_only=False)  # fmt: skip
    return check_command(command, inputs=False)[0]


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
