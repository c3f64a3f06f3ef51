"""The engine inspector's JSON, in the two forms that versions of TensorRT write it; a stand-in for a loaded engine."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from stages.backends.tensorrt.backend import TensorRt
from stages.backends.tensorrt.inspector import inspect, read

VECTOR = "Thirty-two wide channel vectorized row major Int8 format"


def tensor(kind: str, *shape: int) -> dict[str, Any]:
    return {"Name": "t", "Dimensions": list(shape), "Format/Datatype": kind}


def convolution(name: str, kind: str, weights: int) -> dict[str, Any]:
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Inputs": [tensor(kind, 1, 32, 10, 10)],
        "Outputs": [tensor(kind, 1, 64, 10, 10)],
        "OutMaps": 64,
        "Weights": {"Type": "Int8", "Count": weights},
    }


DETAILED = {
    "Layers": [
        {"Name": "image", "LayerType": "Reformat", "Inputs": [tensor("Row major linear FP32", 1, 3, 20, 20)]},
        convolution("a + a_relu", VECTOR, 64 * 32 * 9),
        convolution("b", "Channel major FP16 format where channel % 8 == 0", 64 * 32),
    ]
}


def test_layers_formats_and_the_share_of_the_work_are_read() -> None:
    found = read(json.dumps(DETAILED))
    assert (found["layers"], found["fused"]) == (3, 1)
    assert found["formats"] == {"fp32": 1, "int8": 1, "fp16": 1} and found["layouts"][VECTOR] == 1
    audit = found["audit"]
    assert audit["read_from"] == "engine" and audit["multiply_adds"] == 100 * 64 * 32 * 10
    assert audit["int8_share"] == pytest.approx(0.9)
    assert [layer["name"] for layer in audit["float_layers"]] == ["b"]


def test_without_the_weights_there_are_counts_and_no_share() -> None:
    layers = [
        {"Name": "gemm", "LayerType": "gemm", "Inputs": [tensor("Half", 4, 8)], "Outputs": [tensor("Half", 4, 8)]},
        {"Name": "__myl_AddMul", "LayerType": "fusion", "Inputs": [tensor("Int8", 4)]},
        {"Name": "constant", "LayerType": "Constant", "Inputs": []},
        "only a name",
    ]
    found = read(json.dumps({"Layers": layers}))
    assert found["formats"] == {"fp16": 1, "int8": 1} and found["layers"] == 4 and found["fused"] == 1
    assert "audit" not in found


class Trt(SimpleNamespace):
    """As much of the module as is asked for an inspection; ``engine`` is what loading gives."""

    class ILogger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    LayerInformationFormat = SimpleNamespace(JSON="json")

    def Runtime(self, logger: Any) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=lambda content: self.engine)


def loaded(content: dict[str, Any]) -> Any:
    def information(form: str) -> str:
        assert form == "json"
        return json.dumps(content)

    return SimpleNamespace(create_engine_inspector=lambda: SimpleNamespace(get_engine_information=information))


def test_an_engine_that_loads_tells_more_than_its_network() -> None:
    engine = loaded(DETAILED)
    assert inspect(Trt(engine=engine), engine)["layers"] == 3
    notes: dict[str, Any] = {"audit": {"read_from": "network"}}
    TensorRt()._inspect(Trt(engine=engine), b"", notes)
    assert notes["audit"]["read_from"] == "engine" and notes["audit"]["inspected"]["layers"] == 3


def test_an_engine_that_does_not_load_is_told_and_its_networks_audit_stays() -> None:
    notes: dict[str, Any] = {"audit": {"read_from": "network"}}
    TensorRt()._inspect(Trt(engine=None), b"", notes)
    assert notes["audit"]["read_from"] == "network" and "inspected" not in notes["audit"]
    assert "cannot load the engine on this GPU" in notes["warnings"][0]
