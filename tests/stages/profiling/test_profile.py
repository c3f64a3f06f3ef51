"""The profile of real engines of the stand-in detector, each in a process of its own as the product does it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages import backends
from stages.artifacts import Engine, ProfileResult, hash_files
from stages.backends.profiled import ProfilesLayers
from stages.build.build import Build, BuildInputs
from stages.errors import ConfigError, StageCrashed, StageError, UnavailableError
from stages.latency.timed_engine import Setup
from stages.numerics.variants import Precision
from stages.options.backend import BuildOptions
from stages.options.profile import ProfileOptions
from stages.profiling import engine_process
from stages.profiling.engine_process import Profiling
from stages.profiling.profile import Profile, ProfileInputs
from tests.fakes import FakeContext
from tests.stages.backends.test_base import build
from tests.stages.engines import CLASSES, SIZE, exported, unlabeled
from tests.stages.qdq import Build as Graph

WORK = SIZE * SIZE * 9 * (3 * 16 + 16 * (4 + CLASSES))
"""Multiply-adds of the stand-in detector."""


def profiled(engines: list[Engine], folder: Path, **options: Any) -> tuple[ProfileResult, dict[str, Any], FakeContext]:
    context = FakeContext(folder / "profile")
    inputs = ProfileInputs(engines, unlabeled(folder / "images"))
    result = Profile(ProfileOptions(**{"runs": 12, **options})).run(inputs, context)
    return result, json.loads(result.path("profile.json").read_text()), context


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_where_the_time_of_both_engines_goes(backend: str, tmp_path: Path) -> None:
    engines = [build(backend, precision, tmp_path) for precision in Precision]
    result, content, context = profiled(engines, tmp_path)
    assert result.backend == content["backend"] == backend and context.warnings == []
    assert set(content["engines"]) == {"fp32", "int8"} and content["threads"] == 1
    for name, of in content["engines"].items():
        layers = sum(one["ms"] for one in of["layers"])
        assert of["sum_ms"] == pytest.approx(layers) == pytest.approx(sum(one["ms"] for one in of["groups"].values()))
        assert sum(one["share"] for one in of["groups"].values()) == pytest.approx(1)
        assert sum(one["ms"] for one in of["kinds"].values()) == pytest.approx(layers)
        assert of["runs"] == 12 and 0 < of["sum_ms"] < of["run_ms"] * 1.5
        assert of["groups"]["convolutions"]["layers"] == 2 and of["groups"]["tail"]["ms"] > 0
        multiplied = of["convolutions"]
        assert multiplied["multiply_adds"] >= WORK  # a runtime may fill up channels, and counts them
        assert 0 < multiplied["of_peak"] < 1.1
        assert {one["format"] for one in of["shapes"]} == {name}
        assert any("→ 16, 64×64" in one["shape"] for one in of["shapes"])
        assert set(of["peak"]) == {"fp32", "int8"} and of["profiler"] == backends.get(backend).profiler  # type: ignore[attr-defined]
        assert of["validity"]["verdict"] == "valid" or of["validity"]["verdict"].startswith("invalid: ")


def with_planted(folder: Path, kind: str) -> Engine:
    """An engine of a detector with one layer that takes far more than all others together."""
    model = exported(folder / "model", Precision.FP32)
    b = Graph(("image", [1, 3, SIZE, SIZE]), ("scale_factor", [1, 2]))
    rng = np.random.default_rng(0)

    def conv(x: str, inputs: int, outputs: int, side: int, name: str | None = None) -> str:
        weight = rng.standard_normal((outputs, inputs, side, side)) / 10
        made = b.node("Conv", x, b.const(weight), kernel_shape=[side] * 2, pads=[side // 2] * 4, out=name)
        return b.node("Relu", made)

    y = conv("image", 3, 16, 1)
    y = conv(y, 16, 256, 7, "planted") if kind == "Conv" else conv(y, 16, 256, 1)
    if kind == "Sin":
        y = b.node("Sin", y, out="planted")
    y = b.node("AveragePool", conv(y, 256, 4 + CLASSES, 1), kernel_shape=[8, 8], strides=[8, 8])
    flat = b.node("Reshape", y, b.const([1, 4 + CLASSES, -1], "int64"))
    b.nodes.append(onnx.helper.make_node("Split", [flat, b.const([4, CLASSES], "int64")], ["p0", "p1"], axis=1))
    b.node("Sigmoid", "p1", out="scores")
    corners = b.node("Transpose", "p0", perm=[0, 2, 1])
    doubled = b.node("Reshape", b.node("Concat", *["scale_factor"] * 2, axis=1), b.const([1, 1, 4], "int64"))
    b.node("Div", corners, doubled, out="boxes")
    count = (SIZE // 8) ** 2
    onnx.save(b.model(boxes=[1, count, 4], scores=[1, CLASSES, count]), str(model.path("model.onnx")))
    model = replace(model, files=hash_files(model.root))
    return Build(BuildOptions(backend="onnxruntime", options={})).run(
        BuildInputs(model=model), FakeContext(folder / "build")
    )


@pytest.mark.parametrize(("kind", "group"), [("Conv", "convolutions"), ("Sin", "other")])
def test_a_slow_layer_that_is_planted_is_found(kind: str, group: str, tmp_path: Path) -> None:
    _, content, _ = profiled([with_planted(tmp_path, kind)], tmp_path)
    of = content["engines"]["fp32"]
    longest = of["layers"][0]
    assert longest["group"] == group and kind in longest["kind"]
    assert longest["share"] > 0.5 and max(of["groups"], key=lambda name: of["groups"][name]["ms"]) == group
    if kind == "Conv":
        assert longest["shape"] == of["shapes"][0]["shape"] == "7×7, 16 → 256, 64×64"
    else:
        assert longest["name"] == "n.planted"


def stub(folder: Path, backend: str) -> Engine:
    model = exported(folder / "stub", Precision.FP32)
    return Engine(
        root=model.root, files=model.files, backend=backend, precision="fp32", main="model.onnx",
        input_size=[SIZE, SIZE], batch=1, scale_factor=True, image_input="image", scale_input="scale_factor",
        boxes_output="boxes", scores_output="scores", options={"threads": 1},
    )  # fmt: skip


def test_a_backend_without_a_profiler_says_so_and_nothing_fails(tmp_path: Path) -> None:
    result, content, context = profiled([stub(tmp_path, "paddle_inference")], tmp_path)
    assert content["engines"]["fp32"]["none"] == backends.get("paddle_inference").no_profile  # type: ignore[attr-defined]
    assert result.disturbed == [] and context.warnings == []
    assert "no profile of paddle_inference fp32: Paddle Inference prints sums by operator" in context.infos[0]
    assert not isinstance(backends.get("paddle_inference"), ProfilesLayers)


@pytest.mark.parametrize("error", [StageError("it broke"), StageCrashed("it died"), UnavailableError("no GPU")])
def test_an_engine_that_cannot_be_profiled_leaves_the_others(error: Exception, tmp_path: Path) -> None:
    fine = {"sum_ms": 1.0, "validity": {"verdict": "invalid: throttling (x); too few samples (4, the median needs 10)"}}

    def launch(profiling: Profiling, folder: Path) -> dict[str, Any]:
        if profiling.setup.engine.precision == "fp32":
            raise error
        return fine

    engines = [
        stub(tmp_path, "mine"),
        type(stub(tmp_path, "mine"))(**{**vars(stub(tmp_path, "mine")), "precision": "int8"}),
    ]
    context = FakeContext(tmp_path / "stage")
    stage = Profile(ProfileOptions(), launch)
    result = stage.run(ProfileInputs(engines, unlabeled(tmp_path / "images")), context)
    found = json.loads(result.path("profile.json").read_text())["engines"]
    assert found == {"fp32": {"none": str(error)}, "int8": fine}
    assert len(context.warnings) == (not isinstance(error, UnavailableError))
    assert result.disturbed == [f"int8: {fine['validity']['verdict']}"]  # type: ignore[index]
    assert Profile.objection(result, ProfileOptions()).startswith(
        "the profile was disturbed: int8: invalid: throttling"
    )


def test_few_runs_that_were_meant_so_are_no_disturbance(tmp_path: Path) -> None:
    few = {"validity": {"verdict": "invalid: too few samples (4, the median needs 10)"}}
    stage = Profile(ProfileOptions(), lambda profiling, folder: few)
    result = stage.run(
        ProfileInputs([stub(tmp_path, "mine")], unlabeled(tmp_path / "images")), FakeContext(tmp_path / "stage")
    )
    assert result.disturbed == [] and Profile.objection(result, ProfileOptions()) == ""


def test_wrong_options_are_refused_by_their_keys() -> None:
    with pytest.raises(ConfigError, match=r"profile\.runs"):
        Profile(ProfileOptions(runs=-1))


def test_no_more_runs_than_fit_into_the_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build("onnxruntime", Precision.FP32, tmp_path)
    setup = Setup(engine, [str(tmp_path / "images" / "0.png")], ProfileOptions().nms, 1, [])
    unlabeled(tmp_path / "images")
    options = ProfileOptions(runs=10_000, max_seconds=1e-6)
    found = engine_process.profile(Profiling(setup, options), pin=False)
    assert found["runs"] == engine_process.ROUNDS
