"""Paddle with TensorRT, as far as a machine without a GPU can tell: Paddle's real config, the shapes it collects."""

from __future__ import annotations

from typing import Any

import pytest

from stages import backends
from stages.artifacts import Precision
from stages.backends.base import Available, Unavailable
from stages.backends.paddle_tensorrt import backend as paddle_tensorrt
from stages.backends.paddle_tensorrt.options import PaddleTensorRtOptions
from stages.errors import ConfigError
from tests.stages.engines import SIZE, exported
from tests.stages.workers import probed


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[str, str] = {}
    monkeypatch.setattr(paddle_tensorrt, "version_of", known.get)
    monkeypatch.setattr(paddle_tensorrt, "nvidia_driver", lambda: None)
    backend = backends.get("paddle_tensorrt")
    assert backend.availability() == Unavailable("Paddle is not installed", paddle_tensorrt.INSTALL)
    known["paddlepaddle"] = "2.6.2"
    state = backend.availability()
    assert isinstance(state, Unavailable) and "2.6.2 is built without CUDA and TensorRT" in state.reason
    known |= {"paddlepaddle-gpu": "2.6.2", "paddledet": "2.6.0"}
    assert backend.availability() == Unavailable(paddle_tensorrt.NO_GPU)
    monkeypatch.setattr(paddle_tensorrt, "nvidia_driver", lambda: "550.54")
    assert isinstance(backend.availability(), Available)


def test_wrong_options_are_all_named() -> None:
    wrong = PaddleTensorRtOptions(min_subgraph_size=0, workspace_mb=0, optimization_level=6, passes=["fold"])
    with pytest.raises(ConfigError) as caught:
        backends.get("paddle_tensorrt").availability(wrong)
    assert len(caught.value.problems) == 4


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("paddle_tensorrt")
    model = exported(folder / "model", Precision.INT8, paddle=True)
    result: dict[str, Any] = probed("tests.stages.paddle.probe_tensorrt", str(model.root), str(folder), timeout=900)
    return result


@pytest.mark.slow
def test_the_shapes_of_all_tensors_are_collected_without_a_gpu(probe: dict[str, Any]) -> None:
    assert f'name: "image"\n  min_shape: 1\n  min_shape: 3\n  min_shape: {SIZE}' in probe["shapes"]
    assert probe["shapes"].count("shape_range_info {") > 20  # those inside the network too


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mode"), [("int8", "Int8"), ("fp32", "Float32"), ("fp32 in fp16", "Half"), ("int8 in fp16", "Int8")]
)
def test_the_switches_are_those_of_paddles_config(name: str, mode: str, probe: dict[str, Any]) -> None:
    """Every name and argument is one that Paddle's real config takes, in an order in which it takes them."""
    calls = probe["calls"][name]
    assert [call[0] for call in calls] == [
        "enable_use_gpu", "set_cpu_math_library_num_threads", "enable_tensorrt_engine",
        "set_tensorrt_optimization_level", "enable_tuned_tensorrt_dynamic_shape", "set_optim_cache_dir",
    ]  # fmt: skip
    engine = calls[2][2]
    assert engine["precision_mode"] == mode and engine["use_calib_mode"] is False and engine["use_static"] is True
    assert (engine["workspace_size"], engine["max_batch_size"], engine["min_subgraph_size"]) == (512 << 20, 2, 5)
    assert calls[4][1][1] is False  # the shapes are there: nothing is built while it runs


@pytest.mark.slow
def test_paddle_without_tensorrt_is_unavailable(probe: dict[str, Any]) -> None:
    assert probe["unavailable"].startswith("this Paddle is built without TensorRT")
    assert "TENSORRT" in probe["refused"]  # Paddle's own words, if it is asked all the same


@pytest.mark.slow
def test_the_audit_reads_what_paddle_handed_to_tensorrt(probe: dict[str, Any]) -> None:
    audit = probe["audit"]
    assert audit["multiply_adds"] == 60
    assert audit["share"] == {"int8": 0.5, "fp16": 1 / 3, "fp32": 1 / 6}
    assert [(x["name"], x["format"]) for x in audit["float_layers"]] == [("b", "fp16"), ("outside", "fp32")]
