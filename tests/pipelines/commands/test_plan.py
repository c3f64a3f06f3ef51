"""What a plan says that this machine lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.commands import doctor
from pipelines.commands.plan import _missing
from pipelines.config.schema import PipelineConfig
from pipelines.execution.plan import Step
from pipelines.graph.compress import compress_graph
from stages.backends.onnxruntime.options import OnnxRuntimeOptions


@pytest.mark.parametrize(
    ("running", "needed"),
    [("finetune", True), ("export.fp32", True), ("distill", True), ("float_blocks", True),
     ("build.onnxruntime.int8", False), ("latency.onnxruntime", False), ("labels.val", False)],
)  # fmt: skip
def test_paddle_is_missing_where_the_only_stage_that_runs_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, running: str, needed: bool
) -> None:
    lacking = doctor.Check("paddle", "paddlepaddle", doctor.MISSING, "not installed", "pip install it")
    monkeypatch.setattr(doctor, "paddle_of", lambda workers: [lacking])
    config = PipelineConfig()
    config.data.kind, config.run.artifacts, config.finetune.enabled = "shapes", str(tmp_path), True
    config.compression.max_map_drop, config.backend = 0.5, {"onnxruntime": OnnxRuntimeOptions()}
    nodes = compress_graph(config, None, threads=1)
    steps = [Step(node, cached=node.id != running) for node in nodes]
    assert [step.node.id for step in steps if not step.cached] == [running]
    told = ["paddlepaddle: not installed; install it with: pip install it"] if needed else []
    assert _missing(config, nodes, steps) == told
