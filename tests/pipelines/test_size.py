"""What is built for a candidate: the way to the times of its engine, and nothing else."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from pipelines.graph.compress import compress_graph
from pipelines.size import only_for
from stages.backends.onnxruntime.options import OnnxRuntimeOptions


def test_nothing_is_scored_and_nothing_else_left_out() -> None:
    config = PipelineConfig()
    config.data.kind, config.model.random_weights, config.compression.method = "shapes", True, "ptq"
    config.backend = {"onnxruntime": OnnxRuntimeOptions(variants=["int8"])}
    nodes = only_for("latency.onnxruntime", compress_graph(config, None, threads=1))
    assert [node.id for node in nodes] == [
        "draw", "labels.val", "images.unlabeled", "export.fp32", "distill", "export.int8", "build.onnxruntime.int8",
        "latency.onnxruntime",
    ]  # fmt: skip
    there = {node.id for node in nodes}
    assert all(name in there for node in nodes for name in node.upstream())
