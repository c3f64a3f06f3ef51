"""What a plan says that this machine lacks."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.commands import doctor
from pipelines.commands.plan import Plan, _missing, _plain, _print
from pipelines.config.schema import PipelineConfig
from pipelines.config.variants import Offer, offer, offers_of
from pipelines.execution.node import Node
from pipelines.execution.plan import Step
from pipelines.graph.compress import compress_graph
from stages import backends
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.openvino import backend as openvino


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


def steps() -> list[Step]:
    config = PipelineConfig()
    config.data.kind, config.backend = "shapes", {"onnxruntime": OnnxRuntimeOptions()}
    nodes: dict[str, Node] = {node.id: node for node in compress_graph(config, None, threads=1)}
    changed = ["model.name small -> large", "model.parameters 1 -> 2", "model.input_size 320 -> 640", "seed 0 -> 1"]
    return [
        Step(nodes["draw"], cached=True),
        Step(nodes["distill"], cached=False, reasons=changed, seconds=46_800.0, size=65_000_000, rough=True),
        Step(nodes["accuracy.onnxruntime.int8"], cached=False, reasons=["build.onnxruntime.int8 runs"]),
    ]


def test_what_is_not_known_is_a_question_mark_and_what_is_scaled_is_marked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    _print(Plan(steps(), [], [], [Offer("openvino", ["fp32"], ["bf16"], {"no kernels": ["fp16", "int8_fp16"]})]))
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split()[:3] == ["▶", "distill", "run"] and lines[2].split()[-4:] == ["~13.0", "h", "~65.0", "MB"]
    assert "model.name small -> large; seed 0 -> 1" in lines[2] and "model.parameters" not in lines[2]
    assert lines[3].split()[1] == "accuracy.onnxruntime.int8" and lines[3].split()[-2:] == ["?", "?"]
    assert lines[5:] == [
        "3 stages, 1 of them cached; at least 13 h.",
        "distill alone takes about 13 h on this machine; a first try: compression.steps=50.",
        "About 65.0 MB on disk, without 1 stages whose size is not known.",
        "openvino makes FP32; on request BF16; not FP16, INT8 + FP16: no kernels",
    ]


def test_each_precision_is_made_possible_or_has_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "cpu_has", lambda *flags: False)
    found = offer("openvino")
    assert (found.made, found.possible) == (["fp32", "int8"], [])
    assert [names for why, names in found.left_out.items() if "bf16" in why] == [["bf16", "int8_bf16"]]
    assert found.sentence.startswith("FP32, INT8; not FP16, INT8 + FP16: this CPU has neither ")
    monkeypatch.setattr(openvino, "cpu_has", lambda *flags: True)
    able = offer("openvino")
    assert "bf16" in able.made and not able.left_out and "; on request " in able.sentence
    for name in backends.names():
        told = offer(name)
        every = [*told.made, *told.possible, *(n for names in told.left_out.values() for n in names)]
        assert {"fp32", "bf16", "fp16", "int8", "int8_bf16", "int8_fp16"} <= set(every) and len(set(every)) == len(
            every
        )


def test_without_a_compression_nothing_is_said_of_int8() -> None:
    config = PipelineConfig()
    config.compression.method, config.backend = "none", {"onnxruntime": OnnxRuntimeOptions()}
    (found,) = offers_of(config)
    assert found.made == ["fp32"] and not any("int8" in name for names in found.left_out.values() for name in names)
    told = _plain(Plan([], [], [], [found]))["variants"]
    assert told[0]["backend"] == "onnxruntime" and {tuple(one["variants"]) for one in told[0]["left_out"]} == {
        tuple(names) for names in found.left_out.values()
    }
