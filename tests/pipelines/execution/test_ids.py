"""Ids of nodes: what they look like, what is read from them, and that nobody else spells them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.graph.compress import compress_graph, finetune_nodes, sensitivity_graph
from stages.artifacts import Precision
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.openvino.options import OpenVinoOptions
from tests.conftest import ROOT


def test_ids_stay_what_earlier_runs_wrote_down() -> None:
    assert ids.labels("val") == ids.LABELS_VAL == "labels.val"
    assert ids.IMAGES == "images.unlabeled"
    assert ids.export(Precision.INT8) == ids.export("int8") == "export.int8"
    assert ids.build("openvino", Precision.FP32) == "build.openvino.fp32"
    assert ids.latency("openvino") == "latency.openvino" and ids.profile("openvino") == "profile.openvino"
    assert ids.accuracy("openvino", "int8") == "accuracy.openvino.int8"
    assert (ids.compare("b"), ids.detect("b"), ids.DETECT_REFERENCE) == ("compare.b", "detect.b", "detect.reference")
    assert ids.bundle("b", "int8") == "bundle.b.int8"
    assert (ids.duel_accuracy("champion"), ids.duel_compare("fp32")) == ("duel.accuracy.champion", "duel.compare.fp32")
    assert ids.DUEL_LATENCY == "duel.latency"


def test_an_id_tells_the_stage() -> None:
    config = PipelineConfig()
    config.data.kind, config.compression.max_map_drop = "shapes", 0.5
    config.backend = {"onnxruntime": OnnxRuntimeOptions(), "openvino": OpenVinoOptions()}
    nodes = compress_graph(config, None, threads=1) + sensitivity_graph(config, None, threads=1)
    nodes += finetune_nodes(config, None, threads=1)
    assert {node.id: ids.stage_of(node.id) for node in nodes} == {node.id: node.stage for node in nodes}
    more = {ids.REPORT: "report", ids.JUDGE: "judge", ids.DRIFT: "drift", ids.SUMMARY: "drift"}
    more[ids.bundle("b", "int8")] = "bundle"
    assert {name: ids.stage_of(name) for name in more} == more


@pytest.mark.parametrize("name", [ids.DUEL_LATENCY, ids.duel_accuracy("fp32"), ids.CHAMPION_ENGINE, ids.WEIGHTS])
def test_what_a_duel_measures_and_what_no_stage_made_is_told_apart(name: str) -> None:
    assert ids.stage_of(name) is None


def test_ids_are_taken_apart() -> None:
    nodes = ["export.int8", "build.onnxruntime.int8", "latency.onnxruntime", "build.my.own.fp32"]
    assert ids.engines(nodes) == [("onnxruntime", "int8"), ("my.own", "fp32")]
    assert [ids.set_name(node) for node in (ids.LABELS_TRAIN, ids.IMAGES)] == ["train", "unlabeled"]


_KINDS = (
    "labels",
    "images",
    "export",
    "build",
    "latency",
    "profile",
    "accuracy",
    "compare",
    "detect",
    "bundle",
    "duel",
)
_WHOLE = {ids.IMAGES, ids.LABELS_TRAIN, ids.LABELS_VAL, ids.DETECT_REFERENCE, ids.DUEL_LATENCY, "export.fp32",
          "export.int8", ids.CHAMPION_ENGINE, ids.CHAMPION_IMAGES}  # fmt: skip


def spelled(file: Path) -> list[str]:
    """Strings of a file that are ids, or begin like one and go on with a value."""
    found: list[str] = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in _WHOLE:
            found.append(f"{file.name}:{node.lineno} {node.value}")
        elif isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
            start = str(node.values[0].value)
            if start in {f"{kind}." for kind in _KINDS}:
                found.append(f"{file.name}:{node.lineno} {start}")
    return found


def test_no_other_module_spells_an_id() -> None:
    here = Path(ids.__file__)
    assert spelled(here)
    files = [path for path in (ROOT / "pipelines").rglob("*.py") if path != here]
    assert [place for file in files for place in spelled(file)] == []
