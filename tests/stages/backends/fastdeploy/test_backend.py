"""FastDeploy: what is installed and what is not, and its calls in order, on a stand-in for its module."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from stages import backends
from stages.artifacts import Engine, Precision
from stages.backends.base import Available, Unavailable
from stages.backends.fastdeploy import backend
from stages.backends.fastdeploy.options import FastDeployOptions
from stages.build.build import Build, BuildInputs
from stages.errors import ConfigError, StageError, UnavailableError
from stages.options.backend import BuildOptions
from tests.fakes import FakeContext
from tests.stages.engines import CLASSES, SIZE, exported


def installed(monkeypatch: pytest.MonkeyPatch, **versions: str) -> None:
    """Pretend that these distributions (``_`` for ``-``) are installed, and none else."""
    known = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(backend, "version_of", known.get)


def state(**options: Any) -> Available | Unavailable:
    return backends.get("fastdeploy").availability(FastDeployOptions(**options))


def test_pypis_placeholder_is_no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, fastdeploy_gpu_python="0.1.0")
    found = state()
    assert isinstance(found, Unavailable) and "placeholder" in found.reason and "==1.0.7 -f" in found.install
    installed(monkeypatch, fastdeploy_gpu_python="2.2.1")
    found = state()
    assert isinstance(found, Unavailable) and "another interface" in found.reason
    installed(monkeypatch)
    found = state()
    assert isinstance(found, Unavailable) and found.reason == "FastDeploy is not installed"


def test_the_device_decides_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend, "nvidia_driver", lambda: None)
    installed(monkeypatch, fastdeploy_python="1.0.7")
    assert state() == Available("fastdeploy-python 1.0.7, ort on cpu")
    assert state(device="gpu") == Unavailable("fastdeploy-python 1.0.7 runs on the CPU only", backend.INSTALL)
    installed(monkeypatch, fastdeploy_gpu_python="1.0.7")
    assert state(device="gpu") == Unavailable(backend.NO_GPU)
    monkeypatch.setattr(backend, "nvidia_driver", lambda: "550.54")
    assert isinstance(state(device="gpu", runtime="tensorrt", pinned=True, fp16=True), Available)


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"runtime": "onnxruntime", "device": "cuda"}, 2),
        ({"runtime": "tensorrt"}, 1),
        ({"runtime": "openvino", "device": "gpu", "fp16": True, "pinned": True}, 3),
        ({"runtime": "paddle", "lowering": ["fold_bias"]}, 1),
    ],
)
def test_options_that_do_not_go_together_are_all_named(options: dict[str, Any], count: int) -> None:
    with pytest.raises(ConfigError) as caught:
        state(**options)
    assert len(caught.value.problems) == count


class Fake(SimpleNamespace):
    """A module like FastDeploy 1.0.7; every call on its options is kept."""

    def __init__(self, outputs: list[str], starts: bool = True) -> None:
        super().__init__(ModelFormat=SimpleNamespace(ONNX="onnx", PADDLE="paddle"))
        self.calls: list[tuple[Any, ...]] = []
        self.outputs, self.starts = outputs, starts

    def RuntimeOption(self) -> Any:
        module = self

        class Option:
            def __getattr__(self, name: str) -> Any:
                return lambda *given: module.calls.append((name, *given))

        return Option()

    def Runtime(self, option: Any) -> Any:
        assert self.starts, "Initialize Runtime Failed!"
        outputs, scores = self.outputs, np.ones((1, CLASSES, 4))
        return SimpleNamespace(
            num_outputs=lambda: len(outputs),
            get_output_info=lambda i: SimpleNamespace(name=outputs[i]),
            infer=lambda feeds: [scores if name == "scores" else np.zeros((1, 4, 4)) for name in outputs],
        )


def build(monkeypatch: pytest.MonkeyPatch, fake: Fake, folder: Path, precision: Precision, **options: Any) -> Engine:
    installed(monkeypatch, fastdeploy_gpu_python="1.0.7")
    monkeypatch.setattr(backend, "nvidia_driver", lambda: "550.54")
    monkeypatch.setitem(sys.modules, "fastdeploy", fake)
    model = exported(folder / "model", precision)
    if options.get("runtime", "").startswith("paddle"):
        for name in ("model.pdmodel", "model.pdiparams"):  # FastDeploy reads them, the stand-in does not
            (model.root / name).write_bytes(b"x")
            model.files[name] = ""
    stage = Build(BuildOptions(backend="fastdeploy", options=options))
    return stage.run(BuildInputs(model=model), FakeContext(folder / "stage"))


SHAPES = [("set_trt_input_shape", "image", [1, 3, SIZE, SIZE]), ("set_trt_input_shape", "scale_factor", [1, 2])]


def test_the_cpu_runtimes_get_the_lowered_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = Fake(["scores", "boxes"])
    engine = build(monkeypatch, fake, tmp_path, Precision.INT8, runtime="openvino", threads=2)
    path = str(tmp_path / "stage" / "out" / "model.onnx")
    assert fake.calls == [
        ("use_cpu",), ("set_cpu_thread_num", 2), ("set_model_path", path, "", "onnx"), ("use_openvino_backend",)
    ]  # fmt: skip
    assert engine.notes["passes"][0]["name"] == "lift_zero_scales" and "audit" not in engine.notes
    kinds = [n.op_type for n in onnx.load(path).graph.node]
    assert "QuantizeLinear" in kinds
    fake.calls.clear()
    with backends.get("fastdeploy").open(engine) as session:
        boxes, scores = session.infer({})
    assert (boxes.shape[-1], scores.shape[1]) == (4, CLASSES)  # in our order, whatever FastDeploy's is
    assert fake.calls[-1] == ("use_openvino_backend",)


def test_tensorrt_keeps_its_engine_and_is_told_the_shapes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = Fake(["boxes", "scores"])
    options = {"runtime": "tensorrt", "device": "gpu", "fp16": True, "pinned": True}
    build(monkeypatch, fake, tmp_path, Precision.INT8, **options)
    out = tmp_path / "stage" / "out"
    assert fake.calls == [
        ("use_gpu", 0), ("set_model_path", str(out / "model.onnx"), "", "onnx"), ("use_trt_backend",),
        ("set_trt_cache_file", str(out / "model.trt")), *SHAPES, ("enable_trt_fp16",), ("enable_pinned_memory",),
    ]  # fmt: skip


def test_paddles_tensorrt_collects_shapes_in_the_same_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = Fake(["multiclass.0", "concat.1"])  # Paddle's own names; the order is the file's
    engine = build(monkeypatch, fake, tmp_path, Precision.INT8, runtime="paddle_tensorrt", device="gpu")
    out = tmp_path / "stage" / "out"
    assert fake.calls == [
        ("use_gpu", 0), ("set_model_path", str(out / "model.pdmodel"), str(out / "model.pdiparams"), "paddle"),
        ("use_trt_backend",), ("enable_paddle_to_trt",), ("enable_paddle_trt_collect_shape",), *SHAPES,
    ]  # fmt: skip
    assert engine.main == "model.pdmodel"


def test_what_fastdeploy_refuses_is_a_stage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=r"cannot open model\.onnx with ort on cpu .Initialize Runtime Failed"):
        build(monkeypatch, Fake([], starts=False), tmp_path, Precision.FP32)
    with pytest.raises(StageError, match="has 1 outputs"):
        build(monkeypatch, Fake(["boxes"]), tmp_path, Precision.FP32)


def test_a_module_without_a_runtime_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fastdeploy", SimpleNamespace())
    with pytest.raises(UnavailableError, match="placeholder"):
        backends.get("fastdeploy").prepare()
