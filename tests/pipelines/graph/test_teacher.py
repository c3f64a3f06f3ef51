"""Where a larger teacher stands in the graph, and what is asked of its options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipelines.config.inputs import _target
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.node import Node, Ref
from pipelines.graph.compress import compress_graph
from pipelines.runs.reporting import _report_node
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.distillation.distill import Distill, DistillInputs
from stages.options.compression import TEACHERS


@pytest.fixture
def config(tmp_path: Path) -> PipelineConfig:
    made = PipelineConfig()
    made.data.kind = "shapes"
    made.model.name, made.model.input_size, made.model.labels = "m", [320, 320], ["a", "b"]
    made.backend = {"onnxruntime": OnnxRuntimeOptions()}
    (tmp_path / "l.pdparams").write_text("weights")
    c = made.compression
    c.method, c.loss, c.teacher, c.teacher_weights = (
        "qat_distill",
        "features",
        "ppyoloe_l",
        str(tmp_path / "l.pdparams"),
    )
    return made


def by_id(config: PipelineConfig) -> dict[str, Node]:
    return {node.id: node for node in compress_graph(config, None, threads=1)}


def test_the_teacher_is_exported_at_the_students_size_with_its_classes(config: PipelineConfig) -> None:
    assert list(_target(config)) == []
    nodes = by_id(config)
    teacher = nodes[ids.TEACHER]
    own = teacher.options.model
    assert (own.name, own.input_size, own.labels) == ("ppyoloe_l", [320, 320], ["a", "b"])
    assert own.architecture["width_mult"] == 1.0
    assert nodes["distill"].inputs["teacher"] == Ref(ids.TEACHER)
    assert list(nodes).index(ids.TEACHER) < list(nodes).index("distill")
    assert teacher.work is not None and teacher.work.model == "ppyoloe_l"
    config.compression.teacher_labels = ["b", "a", "c"]
    assert by_id(config)[ids.TEACHER].options.model.labels == ["b", "a", "c"]


def test_other_weights_of_the_teacher_are_another_input(config: PipelineConfig) -> None:
    before: Any = by_id(config)[ids.TEACHER].inputs["model"]
    Path(str(config.compression.teacher_weights)).write_text("others")
    after: Any = by_id(config)[ids.TEACHER].inputs["model"]
    assert before.digest != after.digest


def test_without_one_the_key_is_what_it_was(config: PipelineConfig) -> None:
    config.compression.teacher = config.compression.teacher_weights = None
    nodes = by_id(config)
    assert ids.TEACHER not in nodes
    node = nodes["distill"]
    inputs = DistillInputs(None, None)  # type: ignore[arg-type]
    options = node.key(inputs, 0).parts["options"]
    assert not {*TEACHERS, *Distill.later} & set(options)
    node.options.bias_correction = True
    assert node.key(inputs, 0).parts["options"]["bias_correction"] is True


def test_the_report_is_of_the_runs_own_models(config: PipelineConfig) -> None:
    nodes = list(by_id(config).values())
    info = type("Info", (), {"run_id": "r", "model": "m", "data": "d", "command": "c", "hardware": "h", "config": {},
                             "commit": "x"})()  # fmt: skip
    results = type("Results", (), {"artifacts": {}, "failures": {}, "skipped": {}})()
    run: Any = type("Run", (), {"info": info, "results": results, "versions": {}})()
    assert Ref(ids.TEACHER) not in _report_node(run, config, nodes, results).inputs["models"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        ({"method": "ptq"}, "teacher", "compression=qat_distill"),
        ({"loss": "soft_label"}, "teacher", "compression.loss=detection or features"),
        ({"teacher_weights": None}, "teacher_weights", "name the .pdparams file of ppyoloe_l"),
        ({"teacher_weights": "missing.pdparams"}, "teacher_weights", "there is no file"),
        ({"teacher_weights": "https://x/l.pdparams"}, "teacher_weights", "fetch the file"),
        ({"teacher": "ppyoloe_ll"}, "teacher", "there is no model ppyoloe_ll; did you mean ppyoloe_l?"),
        ({"teacher": None}, "teacher_weights", "compression.teacher=ppyoloe_l"),
        ({"bias_correction": True}, "bias_correction", "compression=ptq"),
        ({"method": "auto", "teacher": None, "teacher_weights": None, "equalize": True}, "equalize", "by itself"),
    ],
)
def test_what_does_not_go_together_is_told_with_its_key(
    config: PipelineConfig, changes: dict[str, Any], key: str, said: str
) -> None:
    for name, value in changes.items():
        setattr(config.compression, name, value)
    (problem,) = _target(config)
    assert problem.key == f"compression.{key}" and said in problem.text
