"""What engines do themselves, from the config to their keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.schema import PipelineConfig
from pipelines.execution.node import TIMES, Node
from pipelines.graph.compress import compress_graph
from pipelines.graph.engines import inside_of
from stages.artifacts import ExportedModel, ImageList, Precision
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.build.build import BuildInputs
from stages.latency.latency import LatencyInputs
from stages.options.accuracy import NmsOptions
from stages.options.export import Inside

MODEL = ExportedModel(root=Path(), precision=Precision.FP32, input_size=[64, 64])


@pytest.fixture
def config() -> PipelineConfig:
    made = PipelineConfig()
    made.data.kind = "shapes"
    made.model.name = "m"
    made.accuracy.nms = NmsOptions(score_threshold=0.02)
    made.backend = {"onnxruntime": OnnxRuntimeOptions()}
    return made


def nodes(config: PipelineConfig) -> dict[str, Node]:
    return {node.id: node for node in compress_graph(config, None, threads=1)}


def test_engines_do_nothing_themselves_unless_they_are_told_to(config: PipelineConfig) -> None:
    assert inside_of(config) is None
    config.export.preprocess = "graph"
    assert inside_of(config) == Inside(None, True)
    config.export.nms = "graph"
    assert inside_of(config) == Inside(NmsOptions(score_threshold=0.02), True)


def test_only_the_builds_know_of_it(config: PipelineConfig) -> None:
    before = nodes(config)
    config.export.nms = config.export.preprocess = "graph"
    after = nodes(config)
    changed = {name for name in before if before[name].options != after[name].options}
    assert changed == {"build.onnxruntime.fp32", "build.onnxruntime.int8"}
    assert after["build.onnxruntime.int8"].options.inside == Inside(config.accuracy.nms, True)


def test_a_build_of_before_is_still_found(config: PipelineConfig) -> None:
    inputs = BuildInputs(MODEL)
    plain = nodes(config)["build.onnxruntime.fp32"].key(inputs, 0)
    assert "inside" not in plain.parts["options"]
    config.export.nms = "graph"
    node = nodes(config)["build.onnxruntime.fp32"]
    assert node.key(inputs, 0).parts["options"]["inside"]["nms"]["score_threshold"] == 0.02
    assert node.origins["inside"] == "export"


def test_images_are_read_and_engines_scored_on_all_cores_which_no_key_knows_of(config: PipelineConfig) -> None:
    config.threads = 5
    config.backend["onnxruntime"].threads = 2
    made = {node.id: node for node in compress_graph(config, None, threads=5)}
    reading = [made[name] for name in ("labels.val", "images.unlabeled")]
    assert [(node.threads, node.cores) for node in reading] == [(5, 1)] * 2
    scoring = made["accuracy.onnxruntime.fp32"]
    assert (scoring.threads, scoring.cores) == (2, 5)  # of the engine, and in all
    assert made["latency.onnxruntime"].cores == 1
    config.threads = None
    assert {node.id: node.options for node in compress_graph(config, None, threads=1)} == {
        name: node.options for name, node in made.items()
    }


def test_throughput_is_measured_on_request_and_changes_no_other_key(config: PipelineConfig) -> None:
    config.threads = 6
    before = {node.id: node for node in compress_graph(config, None, threads=6)}
    assert not any(node.stage == "throughput" for node in before.values())
    config.latency.server.enabled, config.latency.server.p99_ms = True, 40.0
    after = {node.id: node for node in compress_graph(config, None, threads=6)}
    assert after.keys() - before.keys() == {"throughput.onnxruntime"}
    assert {name: node.options for name, node in before.items()} == {name: after[name].options for name in before}
    made = after["throughput.onnxruntime"]
    assert (made.timed, made.partial, made.backend) == (True, True, "onnxruntime")
    assert (made.options.cpus, made.options.p99_ms) == (6, 40.0)
    assert made.inputs == after["latency.onnxruntime"].inputs
    config.latency.server.cpus = 2
    after = {node.id: node for node in compress_graph(config, None, threads=6)}
    assert after["throughput.onnxruntime"].options.cpus == 2


def test_what_is_measured_beside_the_latency_is_no_reason_to_take_it_anew(config: PipelineConfig) -> None:
    """Timings of one table are taken in one run: each of these has its own, so `pipelines/execution/plan.py` leaves
    the latencies alone where another is new, is asked for otherwise, or was disturbed."""
    config.latency.server.enabled = True
    timed = {node.stage: node.table for node in nodes(config).values() if node.timed}
    assert timed == {"latency": TIMES, "profile": "profile", "throughput": "throughput"}


@pytest.mark.parametrize("more", [(), ("latency.server.p99_ms=40", "latency.server.rounds=2")], ids=["preset", "more"])
def test_the_preset_for_throughput_leaves_the_latency_its_key(more: tuple[str, ...]) -> None:
    def latency(*words: str) -> Node:
        command = Command(overrides=["model.random_weights=true", *words], multirun=False, config_dir=None,
                          config_path=None, config_name="config", finetune_only=False)  # fmt: skip
        return nodes(check_command(command, inputs=False)[0])["latency.onnxruntime"]

    inputs = LatencyInputs([], ImageList(root=Path(), count=1))
    assert latency("latency=server", *more).key(inputs, 0) == latency().key(inputs, 0)
    assert latency("latency=quick").key(inputs, 0) != latency().key(inputs, 0)
