"""A lighter model, made as the product makes it, of a very small detector."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

from stages.artifacts import ExportedModel, Precision, hash_files
from stages.build.build import Build, BuildInputs
from stages.distillation.distill import DistillInputs
from stages.errors import ConfigError
from stages.export.export import ExportInputs
from stages.lightening.lighten import WARM_UP, Lighten, LightenInputs, rate
from stages.lowering.graph import Graph
from stages.options.backend import BuildOptions
from stages.options.compression import DistillOptions
from stages.options.export import ExportOptions
from stages.options.lighten import LightenOptions, LightenSettings, lightens
from tests.fakes import FakeContext
from tests.stages.detectors import SIZE, model
from tests.stages.workers import Worker, curve

STEPS = 12


def options(**changes: Any) -> LightenOptions:
    settings: dict[str, Any] = {"activation": "relu", "steps": STEPS, "batch": 2, "checkpoint_every": 3, "log_every": 2}
    settings |= {"eval_every": 6, "eval_images": 1, "lr": 3e-4, "blocks": 0.5, "agreement_images": 1, "model": model()}
    return LightenOptions(**{**settings, **changes})


def inputs_of(fp32: DistillInputs) -> LightenInputs:
    return LightenInputs(model=fp32.model, images=fp32.images)


@pytest.fixture(scope="module")
def whole(fp32: DistillInputs, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A distillation that nobody interrupted."""
    before = hash_files(fp32.model.root)
    worker = Worker(tmp_path_factory.mktemp("whole"), "lighten", options(), inputs_of(fp32))
    worker.done()
    assert hash_files(fp32.model.root) == before
    return worker


def kinds(made: ExportedModel) -> list[str]:
    return [node.op_type for node in onnx.load(str(made.path("model.onnx"))).graph.node]


@pytest.mark.slow
def test_what_comes_out_is_an_exported_float_model(whole: Worker, fp32: DistillInputs) -> None:
    made: Any = whole.result
    assert isinstance(made, ExportedModel) and made.precision is Precision.FP32
    assert set(fp32.model.files) <= set(made.files)
    assert made.path("layers.json").read_text() == fp32.model.path("layers.json").read_text()
    assert made.agreement["max_rel"] < 1e-3
    before = dataclasses.asdict(fp32.model)
    after = dataclasses.asdict(made)
    for name in ("input_size", "batch", "scale_factor", "image_input", "scale_input", "boxes_output", "scores_output"):
        assert after[name] == before[name], name


@pytest.mark.slow
def test_the_head_keeps_its_silu(whole: Worker, fp32: DistillInputs) -> None:
    told = json.loads((whole.out / "light.json").read_text())
    silu = kinds(fp32.model).count("Sigmoid")
    assert told["exchanged"] > 40 and told["kept"] > 0
    assert (told["activation"], told["steps"], told["prune"]) == ("relu", STEPS, None)
    assert kinds(whole.result).count("Relu") == told["exchanged"]  # type: ignore[arg-type]
    assert kinds(whole.result).count("Sigmoid") == silu - told["exchanged"]  # type: ignore[arg-type]
    assert told["parameters"][0] == told["parameters"][1]


@pytest.mark.slow
def test_blocks_learn_first_then_the_whole(whole: Worker) -> None:
    points = curve(whole)
    assert [p["step"] for p in points] == [2, 4, 6, 8, 10, 12]
    losses = [p["loss"] for p in points]
    assert losses[2] < losses[0] and losses[5] < losses[3]
    scores = json.loads((whole.out / "scores.json").read_text())
    assert [s["step"] for s in scores["scores"]] == [0, 6, 12]
    assert scores["scores"][-1]["eval_loss"] < 0.8 * scores["scores"][0]["eval_loss"]
    assert whole.metrics("loss") == losses


@pytest.mark.slow
@pytest.mark.parametrize(("kill_at", "how"), [(4, signal.SIGKILL), (8, signal.SIGTERM)])
def test_an_interrupted_one_goes_on_where_it_was(
    kill_at: int, how: signal.Signals, whole: Worker, fp32: DistillInputs, tmp_path: Path
) -> None:
    """In the blocks' steps, and in those of the whole."""
    first = Worker(tmp_path, "lighten", options(), inputs_of(fp32))
    assert first.wait(kill_at=kill_at, how=how) != 0
    second = Worker(tmp_path, "lighten", options(), inputs_of(fp32))
    second.done()
    assert any("continues from step" in text for text in second.said("info"))
    for ours, expected in zip(curve(second), curve(whole), strict=True):
        assert ours == pytest.approx(expected, rel=1e-6)
    assert (second.out / "light.json").read_text() == (whole.out / "light.json").read_text()
    weights, wanted = weights_of(second.result), weights_of(whole.result)
    assert set(weights) == set(wanted)
    for name, value in wanted.items():  # convolutions of single cells round as their memory lies
        np.testing.assert_allclose(weights[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def weights_of(made: Any) -> dict[str, Any]:
    graph = onnx.load(str(made.path("model.onnx"))).graph
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "hardswish"])
def test_without_steps_it_is_the_original_with_another_activation(
    activation: str, fp32: DistillInputs, tmp_path: Path
) -> None:
    settings = options(activation=activation, activation_head=True, steps=0, eval_every=None, opset=14)
    made: Any = Worker(tmp_path, "lighten", settings, inputs_of(fp32)).done()
    told = json.loads((tmp_path / "out" / "light.json").read_text())
    reference, exchanged = exchanged_onnx(fp32.model, activation)
    assert (told["exchanged"], told["kept"]) == (exchanged, 0)
    rng = np.random.default_rng(0)
    feeds = {
        "image": rng.normal(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
    }
    ours, theirs, original = (
        run(m, feeds) for m in (made.path("model.onnx"), reference, fp32.model.path("model.onnx"))
    )
    for mine, expected, before in zip(ours, theirs, original, strict=True):
        moved = np.abs(before - expected).max()
        assert moved > 0 and np.abs(mine - expected).max() < 0.2 * moved


def run(graph: Path | bytes, feeds: dict[str, Any]) -> list[Any]:
    given = str(graph) if isinstance(graph, Path) else graph
    session = onnxruntime.InferenceSession(given, providers=["CPUExecutionProvider"])
    found: list[Any] = session.run(None, feeds)
    return found


def exchanged_onnx(exported: ExportedModel, activation: str) -> tuple[bytes, int]:
    """The exported graph with every x * sigmoid(x) replaced, written by ONNX's own operators."""
    graph = Graph(onnx.load(str(exported.path("model.onnx"))))
    count = 0
    for product in graph.of_type("Mul"):
        for x, gate in (tuple(product.input), tuple(product.input)[::-1]):
            sigmoid = graph.producer(gate)
            source = sigmoid.input[0] if sigmoid is not None and sigmoid.op_type == "Sigmoid" else ""
            scaled = graph.producer(source) if source else None
            if scaled is not None and scaled.op_type == "Mul" and x in scaled.input:
                source = x  # by the factor of swish, which is 1
            if source != x:
                continue
            if activation == "hardswish":
                other = graph.add_node("HardSigmoid", [x], f"{x}.gate", alpha=1 / 6, beta=0.5)
                new = graph.add_node("Mul", [x, other], f"{x}.hard")
            elif activation == "relu":
                new = graph.add_node("Relu", [x], f"{x}.relu")
            else:
                new = graph.add_node("LeakyRelu", [x], f"{x}.leaky", alpha=0.1)
            graph.redirect(product.output[0], new)
            count += 1
            break
    return graph.finish().SerializeToString(), count


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_what_quantizes_takes_it_and_no_relu_is_left_in_the_engine(
    backend: str, whole: Worker, fp32: DistillInputs, tmp_path: Path
) -> None:
    settings = DistillOptions(method="ptq", ptq_algo="avg", calibration_images=3)
    inputs = DistillInputs(model=whole.result, images=fp32.images)  # type: ignore[arg-type]
    quantized = Worker(tmp_path / "ptq", "distill", settings, inputs).done()
    export = ExportOptions(model=model(), precision="int8")
    made = Worker(tmp_path / "int8", "export", export, ExportInputs(model=quantized, images=fp32.images)).done()
    chosen = {"tune": False} if backend == "onnxruntime" else {}
    engine = Build(BuildOptions(backend=backend, options=chosen)).run(
        BuildInputs(model=made), FakeContext(tmp_path / "engine")
    )
    (report,) = [one for one in engine.notes["passes"] if one["name"] == "unsigned_relu"]
    told = json.loads((whole.out / "light.json").read_text())
    assert report["counts"]["relus_dropped"] == told["exchanged"]
    assert report["remarks"] == []
    assert engine.notes["audit"]["int8_share"] >= 0.95, engine.notes["audit"]["float_layers"]


@pytest.mark.slow
def test_the_largest_maps_are_exchanged_first(whole: Worker, fp32: DistillInputs, tmp_path: Path) -> None:
    settings = options(steps=0, eval_every=None, activation_share=0.3)
    made: Any = Worker(tmp_path, "lighten", settings, inputs_of(fp32)).done()
    some, every = relu_maps(made), relu_maps(whole.result)
    assert sum(some) - min(some) < 0.3 * sum(every) <= sum(some)
    assert sorted(some) == sorted(every)[-len(some) :] and len(some) < 0.2 * len(every)


def relu_maps(made: Any) -> list[int]:
    """How many values each ReLU has."""
    graph = Graph(onnx.load(str(made.path("model.onnx"))))
    shapes = [graph.shape(node.output[0]) for node in graph.of_type("Relu")]
    return [int(np.prod(shape)) for shape in shapes if shape]


@pytest.mark.slow
def test_fewer_channels_learn_from_the_original_too(fp32: DistillInputs, tmp_path: Path) -> None:
    settings = options(prune=0.4, model=model())
    worker = Worker(tmp_path, "lighten", settings, inputs_of(fp32))
    made: Any = worker.done()
    told = json.loads((tmp_path / "out" / "light.json").read_text())
    assert told["exchanged"] > 40 and told["prune"] == 0.4
    before, now = told["parameters"]
    assert now < 0.85 * before and told["multiply_adds"][1] < told["multiply_adds"][0]
    assert made.agreement["max_rel"] < 1e-3
    scores = [s["eval_loss"] for s in json.loads((tmp_path / "out" / "scores.json").read_text())["scores"]]
    assert scores[-1] < scores[0]


@pytest.mark.slow
def test_a_model_without_silu_is_refused_with_what_to_do(whole: Worker, fp32: DistillInputs, tmp_path: Path) -> None:
    inputs = LightenInputs(model=whole.result, images=fp32.images)  # type: ignore[arg-type]
    error = Worker(tmp_path, "lighten", options(), inputs).failed()
    assert error["type"] == "ConfigError"
    assert "there is no SiLU in backbone and neck" in error["message"]
    assert "compression.activation_head=true" in error["message"]


def test_what_makes_nothing_lighter_is_refused(tmp_path: Path) -> None:
    unread: Any = None
    with pytest.raises(ConfigError, match=r"set export\.opset=14"):
        Lighten(options(activation="hardswish")).run(unread, FakeContext(tmp_path))
    with pytest.raises(ConfigError, match="nothing is to be made lighter"):
        Lighten(LightenOptions()).run(unread, FakeContext(tmp_path))
    with pytest.raises(ConfigError, match=r"compression\.prune"):
        Lighten(options(prune=1.5)).run(unread, FakeContext(tmp_path))


def test_when_there_is_something_to_make_lighter() -> None:
    assert not lightens(LightenSettings()) and not lightens(LightenSettings(activation="keep"))
    assert lightens(LightenSettings(activation="relu")) and lightens(LightenSettings(prune=0.0))


def test_the_whole_begins_softly_and_both_parts_end_at_no_rate() -> None:
    o = options(steps=1000, lr=1e-3, blocks=0.3)
    of = [rate(step, o) for step in range(1000)]
    assert of[0] == pytest.approx(1e-3) and of[:300] == sorted(of[:300], reverse=True) and of[299] < 1e-6
    whole = of[300:]
    assert whole[0] < 0.02 * 1e-3, "Adam's first steps are as large as the rate, whatever the gradients"
    assert max(whole) == pytest.approx(1e-3, rel=0.06) == whole[WARM_UP - 1]
    assert whole[WARM_UP:] == sorted(whole[WARM_UP:], reverse=True) and whole[-1] < 1e-8


@pytest.mark.parametrize(("steps", "blocks"), [(1, 0.0), (1, 1.0), (4, 0.5), (12, 1.0)])
def test_short_trainings_have_a_rate_too(steps: int, blocks: float) -> None:
    o = options(steps=steps, lr=1e-3, blocks=blocks)
    assert all(0 < rate(step, o) <= 1e-3 for step in range(steps))
