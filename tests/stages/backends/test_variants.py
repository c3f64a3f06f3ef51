"""Which variants a backend makes here, which it leaves out and why, and what becomes of one that is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages import backends
from stages.artifacts import Precision
from stages.backends.base import parse_options
from stages.backends.onnxruntime.options import PROVIDERS
from stages.backends.onnxruntime.session import chain
from stages.backends.openvino import backend as openvino
from stages.backends.paddle_inference import backend as paddle_inference
from stages.backends.tensorrt.backend import opening
from stages.backends.tensorrt.options import TensorRtOptions
from stages.backends.variants import build_options, choose, opened_as, why_not
from stages.build.build import Build, BuildInputs
from stages.errors import StageError, UnavailableError
from stages.numerics.variants import SEED, FloatFormat, variant
from stages.options.backend import BuildOptions
from tests.fakes import FakeContext
from tests.stages.backends.test_base import build, infer, inputs, reference
from tests.stages.engines import exported
from tests.stages.paddle.run_engine import run_elsewhere
from tests.stages.workers import Worker


def chosen(name: str, **options: Any) -> tuple[list[str], dict[str, str]]:
    backend = backends.get(name)
    choice = choose(backend, parse_options(name, backend.Options, options))
    return [str(one) for one in choice.variants], choice.left_out


@pytest.fixture(params=[True, False], ids=["bf16", "without"])
def has_bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A CPU with BF16, and one without."""
    for module in (openvino, paddle_inference):
        monkeypatch.setattr(module, "cpu_has", lambda *flags: request.param and "avx512_bf16" in flags)
    return bool(request.param)


@pytest.mark.parametrize("name", ["openvino", "paddle_inference"])
def test_bf16_is_made_where_the_cpu_has_it(name: str, has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle_inference, "version_of", {"paddlepaddle": "2.6.2"}.get)
    made, left_out = chosen(name)
    assert made == (["fp32", "bf16", "int8"] if has_bf16 else ["fp32", "int8"])
    assert ("bf16" in left_out) is not has_bf16
    if not has_bf16:
        assert "avx512_bf16" in left_out["bf16"]


@pytest.mark.parametrize("package", ["paddlepaddle", "paddlepaddle-gpu"])
def test_paddle_3_has_no_bf16_and_says_so(package: str, has_bf16: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paddle_inference, "version_of", {package: "3.3.1"}.get)
    made, left_out = chosen("paddle_inference")
    assert made == ["fp32", "int8"] and ("Paddle 3" in left_out["bf16"]) is has_bf16
    reason = why_not(backends.get("paddle_inference"), variant("bf16"), backends.get("paddle_inference").Options())
    assert reason == left_out["bf16"]


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("onnxruntime", ["fp32", "int8"]),
        ("tensorrt", ["fp32", "fp16", "int8", "int8_fp16", "int8_fp16_pm"]),
        ("tensorrt_rtx", ["fp32", "fp16", "int8", "int8_fp16", "int8_fp16_pm"]),
        ("paddle_tensorrt", ["fp32", "fp16", "int8"]),
        ("fastdeploy", ["fp32", "int8"]),
    ],
)
def test_the_defaults_of_the_others(name: str, made: list[str]) -> None:
    assert chosen(name)[0] == made


@pytest.mark.parametrize("name", backends.names())
def test_every_column_of_the_main_tables_is_made_or_has_a_reason(name: str) -> None:
    made, left_out = chosen(name)
    assert set(SEED) <= {*made, *left_out} and not set(made) & set(left_out)
    assert all(len(reason) > 20 for reason in left_out.values())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tensorrt", {"fp16": True}),
        ("paddle_tensorrt", {"fp16": True}),
        ("openvino", {"precision_hint": "bf16"}),
        ("paddle_inference", {"device": "cuda"}),
    ],
)
def test_an_option_that_says_it_of_all_engines_leaves_the_two_precisions(name: str, options: dict[str, Any]) -> None:
    assert chosen(name, **options)[0] == ["fp32", "int8"]


def test_buffers_that_are_pinned_for_all_are_no_variant() -> None:
    made, left_out = chosen("tensorrt", pinned=True)
    assert made == ["fp32", "fp16", "int8", "int8_fp16"]
    assert left_out["int8_fp16_pm"] == "backend.tensorrt.pinned=true says how every engine is opened"


def test_how_a_tensorrt_engine_is_opened() -> None:
    def of(name: str, **options: Any) -> tuple[bool, bool]:
        return opening(variant(name), TensorRtOptions(**options))

    assert of("int8") == (False, False) and of("int8_pm") == (True, False) and of("int8_pm_graph") == (True, True)
    assert of("int8", pinned=True) == (True, False)
    assert of("int8", cuda_graph=True) == (True, True)  # as it was when buffers were page-locked by default
    assert chosen("tensorrt", cuda_graph=True)[1]["int8_fp16_pm"].startswith("backend.tensorrt.cuda_graph=true says")


def test_what_the_user_names_is_taken_as_it_is() -> None:
    made, left_out = chosen("onnxruntime", variants=["fp32", "bf16", "fp32"])
    assert made == ["fp32", "bf16"] and "bf16" not in left_out and "int8_fp16" in left_out


def test_a_variant_that_cannot_be_made_is_unavailable(tmp_path: Path, context: FakeContext) -> None:
    stage = Build(BuildOptions(backend="onnxruntime", options={"variants": ["bf16"]}))
    with pytest.raises(UnavailableError, match="onnxruntime has no bf16: ONNX Runtime has no kernels for bf16"):
        stage.run(BuildInputs(exported(tmp_path, Precision.FP32)), context)
    stage = Build(BuildOptions(options={"variants": ["int8"]}))
    with pytest.raises(StageError, match="int8 cannot be built from the fp32 model"):
        stage.run(BuildInputs(exported(tmp_path, Precision.FP32)), context)


def test_openvino_is_asked_too_before_it_would_take_fp32_in_silence() -> None:
    class Core:
        def get_property(self, device: str, name: str) -> list[str]:
            return ["FP32", "INT8"]

    openvino.require_format(Core(), FloatFormat.FP32)
    with pytest.raises(UnavailableError, match="OpenVINO has no bf16 on this CPU \\(it has FP32, INT8\\)"):
        openvino.require_format(Core(), FloatFormat.BF16)


def test_the_options_of_the_two_precisions_say_nothing_of_variants() -> None:
    options = backends.get("tensorrt").Options(variants=["fp32", "int8_fp16_pm"])
    for name in ("fp32", "int8", "int8_pm"):
        plain = build_options(options, variant(name))
        assert plain.get("variants", ["int8"]) == ["int8"]
    assert "variants" not in build_options(options, variant("fp32"))
    assert build_options(options, variant("int8_fp16_pm"))["variants"] == ["int8_fp16"]


def test_one_engine_is_opened_in_several_ways(tmp_path: Path) -> None:
    engine = build("onnxruntime", Precision.INT8, tmp_path, tune=False)
    assert opened_as(engine, "int8_pm").variant.pinned and opened_as(engine, "int8_pm").files == engine.files
    with pytest.raises(ValueError, match="a int8 engine cannot be opened as int8_fp16_pm"):
        opened_as(engine, "int8_fp16_pm")


@pytest.mark.parametrize(
    ("provider", "made"),
    [("cuda", ["fp32", "fp16", "int8"]), ("tensorrt", ["fp32", "fp16", "int8", "int8_fp16"])],
)
def test_onnx_runtime_by_provider(provider: str, made: list[str]) -> None:
    assert chosen("onnxruntime", provider=provider)[0] == made
    fp16, fp32 = (chain(Path(__file__), provider, floats) for floats in (FloatFormat.FP16, FloatFormat.FP32))
    assert (fp16 != fp32) == (provider == "tensorrt")
    assert provider != "tensorrt" or fp16[0][1]["trt_fp16_enable"] is True


def test_cuda_gets_its_fp16_from_the_graph(
    tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PROVIDERS, "cuda", "CPUExecutionProvider")  # which takes such graphs too, if slowly
    monkeypatch.setattr("stages.backends.onnxruntime.session.chain", lambda *given, **more: ["CPUExecutionProvider"])
    stage = Build(
        BuildOptions(backend="onnxruntime", options={"provider": "cuda", "variants": ["fp16"], "cuda_graph": False})
    )
    engine = stage.run(BuildInputs(exported(tmp_path / "model", Precision.FP32)), context)
    graph = onnx.load(str(engine.path(engine.main))).graph
    weights = [t for t in graph.initializer if len(t.dims) == 4]
    assert weights and {t.data_type for t in weights} == {onnx.TensorProto.FLOAT16}
    assert engine.precision == "fp16" and engine.notes["passes"][0]["name"] == "to_half"


@pytest.mark.parametrize(
    ("name", "of", "wanted", "number_format"),
    [
        ("openvino", Precision.FP32, "bf16", "bf16"),
        ("openvino", Precision.INT8, "int8_bf16", "int8"),
        pytest.param("paddle_inference", Precision.FP32, "bf16", "bf16", marks=pytest.mark.slow),
    ],
)
def test_a_bf16_engine_computes_in_bf16_and_gives_what_the_graph_says(
    name: str, of: Precision, wanted: str, number_format: str, tmp_path: Path, context: FakeContext
) -> None:
    backend = backends.get(name)
    if reason := why_not(backend, variant(wanted), backend.Options()):
        pytest.skip(f"{name}: {reason}")
    options = BuildOptions(backend=name, options={"variants": [wanted]})
    paddle = name.startswith("paddle")
    given = BuildInputs(exported(tmp_path / "model", of, paddle=paddle))
    engine = (
        Worker(tmp_path / "build", "build", options, given).done() if paddle else Build(options).run(given, context)
    )
    assert engine.precision == wanted and "variants" not in engine.options
    assert engine.notes["audit"]["share"][number_format] > 0.8
    images, scales = inputs()
    expected = reference(of, 1, images, scales)
    found = (
        run_elsewhere(engine, [{"image": images, "scale_factor": scales}])
        if paddle
        else infer(engine, (images, scales))
    )
    for one, other in zip(found[0], expected, strict=True):
        assert one.dtype == np.float32
        assert np.abs(one - other).max() <= (0.06 if of is Precision.INT8 else 0.02)
        assert of is Precision.INT8 or np.abs(one - other).max() > 1e-6, (
            "bit for bit FP32's: it did not compute in BF16"
        )
