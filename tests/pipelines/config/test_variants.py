"""Variants of a config: what is planned of them, and what of a choice is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.config.schema import PipelineConfig
from pipelines.config.values import check_values
from pipelines.config.variants import variants_of
from pipelines.execution import ids
from pipelines.execution.node import Node
from pipelines.graph.compress import compress_graph
from pipelines.registry.names import precision_of
from pipelines.retraining.head_to_head import duel_nodes
from stages import backends


def config_of(**options: dict[str, Any]) -> PipelineConfig:
    """Drawn images, and these backends with their options."""
    config = PipelineConfig()
    config.data.kind = "shapes"
    config.backend = {name: backends.get(name).Options(**given) for name, given in options.items()}
    return config


def planned(config: PipelineConfig) -> dict[str, Node]:
    return {node.id: node for node in compress_graph(config, None, threads=1)}


def test_the_two_precisions_have_the_nodes_and_keys_they_always_had() -> None:
    config = config_of(onnxruntime={})
    nodes = planned(config)
    made = [name for name in nodes if "onnxruntime" in name]
    assert made == [
        *("build.onnxruntime.fp32", "build.onnxruntime.int8", "latency.onnxruntime", "profile.onnxruntime"),
        *("accuracy.onnxruntime.fp32", "accuracy.onnxruntime.int8", "compare.onnxruntime", "detect.onnxruntime"),
    ]
    for name in ("fp32", "int8"):
        assert "variants" not in nodes[f"build.onnxruntime.{name}"].options.options
    named = planned(config_of(onnxruntime={"variants": ["fp32", "int8"]}))
    for name in made[:2]:
        assert named[name] == nodes[name]


def test_variants_that_differ_in_their_opening_share_an_engine() -> None:
    wanted = ["fp32", "int8_fp16", "int8_fp16_pm", "int8_fp16_pm_graph"]
    nodes = planned(config_of(tensorrt={"variants": wanted}))
    assert [name for name in nodes if name.startswith("build.")] == ["build.tensorrt.fp32", "build.tensorrt.int8_fp16"]
    assert nodes["build.tensorrt.int8_fp16"].options.options["variants"] == ["int8_fp16"]
    assert nodes["latency.tensorrt"].options.variants == wanted
    assert len(nodes["latency.tensorrt"].inputs["engines"]) == 2  # type: ignore[arg-type]
    assert "accuracy.tensorrt.int8_fp16" in nodes and "accuracy.tensorrt.int8_fp16_pm" not in nodes
    compared = nodes["compare.tensorrt.int8_fp16"]
    assert compared.precision == "int8_fp16" and compared.upstream()[1] == "accuracy.tensorrt.int8_fp16"
    assert nodes["build.tensorrt.int8_fp16"].upstream() == ["export.int8"]


def test_ids_of_a_variant_are_those_of_its_engine() -> None:
    assert ids.build("tensorrt", "int8_fp16_pm") == "build.tensorrt.int8_fp16"
    assert ids.accuracy("tensorrt", "fp32_pm") == "accuracy.tensorrt.fp32"
    assert ids.export("int8_bf16") == "export.int8" and ids.export("bf16") == "export.fp32"
    assert ids.compare("openvino") == ids.compare("openvino", "int8_pm") == "compare.openvino"
    assert ids.compare("openvino", "bf16") == "compare.openvino.bf16"
    assert ids.engines(["build.openvino.int8_bf16"]) == [("openvino", "int8_bf16")]


def test_without_compression_only_floats_are_made() -> None:
    config = config_of(tensorrt={})
    config.compression.method = "none"
    choice = variants_of(config, "tensorrt")
    assert [str(one) for one in choice.variants] == ["fp32", "fp16"] and choice.left_out == {}
    assert [n for n in planned(config) if n.startswith("build.")] == ["build.tensorrt.fp32", "build.tensorrt.fp16"]


@pytest.mark.parametrize(
    ("variants", "method", "problem"),
    [
        (
            ["int8"],
            "ptq",
            "fp32 is missing: every other engine is compared with it; add it",
        ),
        (
            ["fp32", "int8"],
            "none",
            "compression=none makes no model for int8; leave it out",
        ),
        (["fp32", "int9"], "ptq", "there is no variant int9; did you mean int8?"),
        ([], "ptq", "[] does not fit; it must name at least 1 variant"),
    ],
)
def test_a_choice_that_does_not_work_is_refused(variants: list[str], method: str, problem: str) -> None:
    config = config_of(onnxruntime={"variants": variants})
    config.compression.method = method
    problems = [str(one) for one in check_values(config)]
    assert len(problems) == 1 and problems[0].startswith("backend.onnxruntime.variants: ") and problem in problems[0]


def test_the_engine_that_is_registered_is_a_variant_of_the_run() -> None:
    config = config_of(tensorrt={})
    assert precision_of(config) == "int8"
    config.registry.variant = "int8_fp16"
    assert precision_of(config) == "int8_fp16" and check_values(config) == []
    config.registry.variant = "int8_bf16"
    (problem,) = check_values(config)
    assert str(problem).startswith("registry.variant: no int8_bf16 engine is built; name it in backend.tensorrt.")
    config.registry.variant = "int8_fp16_pm"
    assert "it must be one of fp32, fp16, bf16, int8, int8_fp16, int8_bf16" in str(check_values(config)[0])


def test_what_is_wrong_with_a_backend_is_told_before_what_follows_from_it() -> None:
    config = config_of(openvino={"precision_hint": "f33"})
    config.registry.variant = "bf16"
    (problem,) = check_values(config)
    assert str(problem).startswith("backend.openvino.precision_hint: 'f33' does not fit")


def test_a_challenger_is_measured_beside_every_float_engine_of_its_run() -> None:
    config = config_of(openvino={"variants": ["fp32", "bf16", "int8"]})
    info = SimpleNamespace(hardware="h")
    run: Any = SimpleNamespace(info=info, results=SimpleNamespace(artifacts={"build.openvino.bf16": object()}))
    champion: Any = SimpleNamespace(version=SimpleNamespace(number="4", run_id="r0"))
    nodes = {node.id: node for node in duel_nodes(config, run, "r", champion)}
    names = ["fp32", "bf16", "champion", "challenger"]
    assert nodes["judge"].options.names == nodes["duel.latency"].options.names == names
    assert nodes["duel.latency"].upstream()[:2] == ["build.openvino.fp32", "build.openvino.bf16"]
    assert nodes["duel.compare.fp32"].options.worst > 0 and nodes["duel.compare.bf16"].options.worst == 0
    first = {node.id: node for node in duel_nodes(config, run, "r", None)}["judge"]
    assert first.options.names == ["fp32", "bf16", "int8"] and "compare.openvino" in first.upstream()
    del run.results.artifacts["build.openvino.bf16"]  # a run from before there were variants
    assert duel_nodes(config, run, "r", champion)[-1].options.names == ["fp32", "champion", "challenger"]
