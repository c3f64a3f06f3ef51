"""The ONNX file of a bundle says what it is, and works alone; one that lies about itself is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from pipelines.cli import main
from stages.artifacts import Bundle, Engine, Precision
from stages.bundle.described import open_file
from stages.bundle.metadata import About, onnx_beside
from stages.bundle.verify import compare
from stages.errors import InputError
from stages.options.accuracy import NmsOptions
from stages.options.export import Inside
from tests.stages.bundle.test_bundle import bundled, example, made, stand_in  # noqa: F401 (a fixture)
from tests.stages.engines import SIZE

LETTERS = "abcdefghijkl"


def said(path: Path) -> dict[str, Any]:
    return {prop.key: json.loads(prop.value) for prop in onnx.load(str(path)).metadata_props}


def test_the_file_says_what_it_is(made: Bundle) -> None:  # noqa: F811
    content = said(made.path("engine/model.onnx"))
    record = json.loads(made.path("bundle.json").read_text())
    assert set(content) == set(About.__annotations__) - {"thresholds"}  # which the config names none of
    assert content["labels"] == list(LETTERS) and content["run_id"] == "r" and content["model"] == "stand-in"
    assert content["preprocess"]["input_size"] == [64, 64] and content["preprocess"]["interpolation"] == "cubic"
    assert (content["inputs"], content["outputs"]) == (
        {"image": "image", "scale_factor": "scale_factor"},
        {"boxes": "boxes", "scores": "scores"},
    )
    assert content["nms"] == record["nms"] and content["draw_threshold"] == record["draw_threshold"]
    assert len(content["model_sha256"]) == 64 and "Apache-2.0" in content["license"]


def test_it_finds_alone_what_the_bundle_finds(
    made: Bundle,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(made.path("engine/model.onnx").read_bytes())
    image, golden = made.path("golden/000.png"), json.loads(made.path("golden/expected.json").read_text())
    assert main(["predict", str(alone), str(image), "--threshold", "0.05", "--no-pictures"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(golden[0]["detections"]) > 3 and json.loads(line)["detections"] == golden[0]["detections"]
    assert main(["predict", str(alone), str(image), "--out", str(tmp_path / "out")]) == 0
    drawn = json.loads(capsys.readouterr().out)
    assert Path(drawn["drawn"]).is_file() and all(found["score"] >= 0.5 for found in drawn["detections"])


def test_the_lines_of_the_docs_do_too(made: Bundle, tmp_path: Path) -> None:  # noqa: F811
    source = example("python", '"""one_file.py')
    code = [line for line in source.splitlines()[1:] if line and not line.startswith("import")]
    assert len(code) <= 15
    it_finds_what_is_expected(source, made, tmp_path)


def it_finds_what_is_expected(source: str, bundle: Bundle, folder: Path) -> None:
    (folder / "example.py").write_text(source)
    command = [sys.executable, "-I", "example.py", bundle.path("engine/model.onnx"), bundle.path("golden/000.png")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found = []
    for line in done.stdout.splitlines():
        label, score, box = line.split(maxsplit=2)
        found.append({"class": LETTERS.index(label), "score": float(score), "box": json.loads(box)})
    expected = json.loads(bundle.path("golden/expected.json").read_text())[0]["detections"]
    pairs, lost, difference = compare([one for one in expected if one["score"] > 0.5], found)
    assert pairs > 3 and pairs >= 0.97 * (pairs + lost) and difference < 1e-3


@pytest.mark.parametrize("preprocess", [False, True])
def test_a_file_with_nms_in_it_works_alone_too(
    preprocess: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = bundled(tmp_path, Inside(NmsOptions(score_threshold=0.01), preprocess))
    path, image = bundle.path("engine/model.onnx"), bundle.path("golden/000.png")
    content = said(path)
    assert (content["nms_in"], content["preprocess_in"]) == ("graph", "graph" if preprocess else "outside")
    assert list(content["outputs"]) == ["num_dets", "boxes", "scores", "labels"]
    assert "NMS runs in the engine" in bundle.path("README.md").read_text()
    assert main(["predict", str(path), str(image), "--threshold", "0.05", "--no-pictures"]) == 0
    found = json.loads(capsys.readouterr().out)["detections"]
    assert len(found) > 3 and found == json.loads(bundle.path("golden/expected.json").read_text())[0]["detections"]
    if preprocess:
        it_finds_what_is_expected(example("python", '"""all_inside.py'), bundle, tmp_path)


def changed(made: Bundle, folder: Path, change: Callable[[onnx.ModelProto], None]) -> Path:  # noqa: F811
    model = onnx.load(str(made.path("engine/model.onnx")))
    change(model)
    target = folder / "changed.onnx"
    target.write_bytes(model.SerializeToString())
    return target


def with_property(key: str, value: Any) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        for prop in model.metadata_props:
            if prop.key == key:
                prop.value = json.dumps(value)

    return change


def no_json(model: onnx.ModelProto) -> None:
    next(prop for prop in model.metadata_props if prop.key == "labels").value = "{no json"


def without(key: str) -> Callable[[onnx.ModelProto], None]:
    def change(model: onnx.ModelProto) -> None:
        kept = {prop.key: prop.value for prop in model.metadata_props if prop.key != key}
        onnx.helper.set_model_props(model, kept)

    return change


def elsewhere(model: onnx.ModelProto) -> None:
    """A tensor deep in a node, which lies in a file of somebody's choice."""
    tensor = onnx.numpy_helper.from_array(np.ones(2, np.float32), "t")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    inner = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["v"], value=tensor)], "inner", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["c"], ["v"], then_branch=inner, else_branch=inner))


STEPS = {"input_size": [64, 64], "interpolation": "cubic", "scale": True, "mean": [0.5] * 3, "std": [0.2] * 3}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("detpress"), "says nothing of classes"),
        (without("labels"), "labels is missing"),
        (elsewhere, "in other files: refused"),
        (with_property("detpress", 99), "another version"),
        (with_property("precision", "int9"), "precision is 'int9'"),
        (no_json, "labels cannot be read"),
        (with_property("labels", []), "labels does not fit"),
        (with_property("labels", ["a", "b"]), "names 2"),
        (with_property("labels", [1]), "where a text belongs"),
        (with_property("nms", {"score_threshold": 7}), "score_threshold"),
        (with_property("nms", {"other": 7}), "other is not known"),
        (with_property("inputs", {}), "inputs does not fit"),
        (with_property("nms_in", "elsewhere"), "nms_in does not fit"),
        (with_property("nms_in", "graph"), "outputs does not fit"),
        (with_property("preprocess_in", "graph"), "its properties say otherwise"),
        (with_property("outputs", {"boxes": "boxes", "scores": "nowhere"}), "'nowhere'"),
        (with_property("preprocess", {**STEPS, "std": [0.0, 1, 1]}), "std does not fit"),
        (with_property("preprocess", {**STEPS, "mean": [1e999, 1, 1]}), "numbers does not fit"),
        (with_property("preprocess", {**STEPS, "input_size": [32, 64]}), "its properties say otherwise"),
        (with_property("preprocess", {**STEPS, "input_size": [1 << 40, 64]}), "input_size does not fit"),
        (with_property("preprocess", {**STEPS, "interpolation": "best"}), "interpolation does not fit"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    change: Callable[[onnx.ModelProto], None],
    words: str,
    made: Bundle,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = changed(made, tmp_path, change)
    assert main(["predict", str(path), str(made.path("golden/000.png")), "--no-pictures"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and words in lines[0], lines


def test_files_that_are_no_onnx_are_refused(tmp_path: Path, made: Bundle) -> None:  # noqa: F811
    whole = made.path("engine/model.onnx").read_bytes()
    for name, content in {"cut": whole[: len(whole) // 2], "text": b"hello", "empty": b""}.items():
        (tmp_path / f"{name}.onnx").write_bytes(content)
        with pytest.raises(InputError, match=r"no whole ONNX file|says nothing"):
            open_file(tmp_path / f"{name}.onnx", tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        open_file(tmp_path / "none.onnx", tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(InputError, match="a folder"):
        open_file(tmp_path / "folder.onnx", tmp_path)


def weightless(backend: str, precision: Precision = Precision.INT8) -> Engine:
    return Engine(
        root=Path(), backend=backend, precision=precision, main="", input_size=[SIZE, SIZE], batch=1,
        scale_factor=False, image_input="", scale_input="", boxes_output="", scores_output="",
    )  # fmt: skip


def activations(path: Path) -> set[str]:
    """Types that values are quantized to."""
    graph = onnx.load(str(path)).graph
    constants = {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    points = {**constants, **{i.name: i for i in graph.initializer}}
    used = {points[node.input[2]].data_type for node in graph.node if node.op_type == "QuantizeLinear"}
    return {onnx.TensorProto.DataType.Name(kind).lower() for kind in used}


def test_the_file_beside_an_openvino_engine_runs_right_in_both_runtimes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    openvino = pytest.importorskip("openvino", reason="the wheel of OpenVINO is not installed")
    bundle = bundled(tmp_path, None, "openvino")
    path = bundle.path("model.onnx")
    assert said(path)["precision"] == "int8"
    assert activations(path) == {"uint8"}  # signed ones OpenVINO changes itself where there is no AMX
    golden = json.loads(bundle.path("golden/expected.json").read_text())
    image = bundle.path("golden/000.png")
    assert main(["predict", str(path), str(image), "--threshold", "0.05", "--no-pictures"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    pairs, lost, _ = compare(golden[0]["detections"], json.loads(line)["detections"])
    assert pairs > 3 and pairs >= 0.95 * (pairs + lost)
    session, core = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"]), openvino.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rng = np.random.default_rng(0)
    feeds = {
        i.name: rng.random([d if isinstance(d, int) else 1 for d in i.shape], np.float32) for i in session.get_inputs()
    }
    for own, port in zip(session.run(None, feeds), compiled.outputs, strict=True):
        other = compiled(feeds)[port]
        assert np.abs(own - other).max() <= 0.05 * np.abs(own).max()


def test_the_file_beside_a_tensorrt_engine_is_one_that_tensorrt_reads(tmp_path: Path) -> None:
    model = stand_in(tmp_path / "model")
    onnx_beside(weightless("tensorrt"), model, tmp_path / "int8.onnx")
    onnx_beside(weightless("tensorrt", Precision.FP32), model, tmp_path / "fp32.onnx")
    assert activations(tmp_path / "int8.onnx") == {"int8"}  # it has no kernels for unsigned ones
    lowered, exported = (onnx.load(str(path)).graph for path in (tmp_path / "int8.onnx", model.path("model.onnx")))
    wide = [sum(node.op_type in ("QuantizeLinear", "Mul") for node in graph.node) for graph in (lowered, exported)]
    assert wide[0] < wide[1]  # weights are integers, SiLU is free
    assert onnx.load(str(tmp_path / "fp32.onnx")).graph == exported  # in float it is what was exported
