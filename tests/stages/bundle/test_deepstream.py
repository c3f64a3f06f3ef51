"""DeepStream's folder: its key file by GLib's rules and nvinfer's own keys, and the model fed as nvinfer feeds it."""

from __future__ import annotations

import configparser
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages.artifacts import Engine, ExportedModel, Precision, hash_files
from stages.bundle import deepstream
from stages.bundle.bundle import BundleStage
from stages.bundle.contents import open_bundle
from stages.bundle.layouts import require_layout
from stages.bundle.verify import verify
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import InputError
from stages.options.accuracy import NmsOptions
from stages.options.bundle import BundleOptions
from stages.options.export import NMS_OUTPUTS, Inside
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.backends.test_inside import build, model
from tests.stages.bundle.test_bundle import labeled, stand_in
from tests.stages.engines import SIZE, unlabeled
from tests.stages.qdq import Array

INT, FLOAT, TEXT = r"-?\d+", r"-?\d+(\.\d+)?(e-?\d+)?", r"\S+"
KEYS = {
    "property": {
        "gpu-id": INT, "gie-unique-id": INT, "process-mode": "[12]", "onnx-file": TEXT, "labelfile-path": TEXT,
        "batch-size": INT, "infer-dims": f"{INT}(;{INT}){{2}}", "model-color-format": "[012]",
        "net-scale-factor": FLOAT, "offsets": f"{FLOAT}(;{FLOAT}){{2}}", "maintain-aspect-ratio": "[01]",
        "scaling-filter": "[0-6]", "network-mode": "[012]", "network-type": "[0123]", "num-detected-classes": INT,
        "parse-bbox-func-name": r"\w+", "custom-lib-path": TEXT, "cluster-mode": "[01234]",
    },
    "class-attrs-all": {"pre-cluster-threshold": FLOAT, "nms-iou-threshold": FLOAT, "topk": INT},
}  # fmt: skip
"""Group -> key -> what its value looks like, as far as they are known of nvinfer."""
PLAIN = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}


def parsed(text: str) -> dict[str, dict[str, str]]:
    """A key file as GLib reads it: groups, KEY=VALUE, and comments on lines of their own only."""
    found = configparser.ConfigParser(delimiters="=", comment_prefixes="#", interpolation=None, strict=True)
    found.optionxform = str  # type: ignore[assignment, method-assign]
    found.read_string(text)
    return {group: dict(found[group]) for group in found.sections()}


def problems(config: dict[str, dict[str, str]]) -> list[str]:
    """Groups and keys that nvinfer does not know, and values that it cannot read."""
    wrong = [group for group in config if group not in KEYS]
    for group in {*config} & {*KEYS}:
        for key, value in config[group].items():
            if key not in KEYS[group]:
                wrong.append(f"{group}.{key}")
            elif not re.fullmatch(KEYS[group][key], value):
                wrong.append(f"{group}.{key}={value}")
    return wrong


def engine(of: ExportedModel, inside: Inside | None = None, **changes: Any) -> Engine:
    """As TensorRT's backend would leave it; no GPU is needed for what is written here."""
    made = Engine(
        root=of.root, files=of.files, backend="tensorrt", precision=of.precision, main="model.onnx",
        input_size=of.input_size, batch=of.batch, scale_factor=True, image_input="image", scale_input="scale_factor",
        boxes_output="boxes", scores_output="scores", inside=inside,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def with_steps(of: ExportedModel, **steps: Any) -> tuple[ExportedModel, Sidecar]:
    sidecar = dataclasses.replace(Sidecar.read(of.path(FILE_NAME)), **steps)
    sidecar.write(of.root)
    return dataclasses.replace(of, files=hash_files(of.root)), sidecar


def run(network: onnx.ModelProto, **feeds: Array) -> list[Array]:
    import onnxruntime as ort

    session = ort.InferenceSession(network.SerializeToString(), providers=["CPUExecutionProvider"])
    return [np.asarray(value) for value in session.run(None, feeds)]


@pytest.mark.parametrize("inside", [None, Inside(None, True)], ids=["outside", "pixels"])
@pytest.mark.parametrize("batch", [1, 2])
def test_fed_as_nvinfer_does_the_network_sees_what_it_was_trained_on(
    inside: Inside | None, batch: int, tmp_path: Path
) -> None:
    steps = PLAIN if inside is None else {"mean": (0.1, 0.2, 0.3), "std": (0.2, 0.3, 0.4)}
    of, sidecar = with_steps(model(tmp_path / "m", Precision.FP32, batch), **steps)
    made = deepstream.network(of, engine(of, inside), sidecar)
    onnx.checker.check_model(made)
    assert [given.name for given in made.graph.input] == ["image"]
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 3, SIZE, SIZE)).astype(np.float32)
    config = parsed(deepstream.config(engine(of, inside), sidecar, NmsOptions()))["property"]
    offsets = np.float32(config["offsets"].split(";")).reshape(1, 3, 1, 1)
    found = run(made, image=np.float32(float(config["net-scale-factor"])) * (pixels - offsets))
    mean, std = (np.float32(steps[key]).reshape(1, 3, 1, 1) for key in ("mean", "std"))
    expected = run(
        onnx.load(str(of.path("model.onnx"))),
        image=(pixels / 255 - mean) / std,
        scale_factor=np.ones((batch, 2), np.float32),
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


def test_nms_inside_is_tensorrts_plug_in(tmp_path: Path) -> None:
    of = model(tmp_path / "m", Precision.INT8)
    inside = Inside(NmsOptions(keep_top_k=50), True)
    sidecar = Sidecar.read(of.path(FILE_NAME))
    made = deepstream.network(of, engine(of, inside), sidecar)
    assert [value.name for value in made.graph.output] == list(NMS_OUTPUTS)
    assert [n.op_type for n in made.graph.node if n.domain] == ["EfficientNMS_TRT"]
    kinds = {value.name: value.type.tensor_type.elem_type for value in made.graph.input}
    assert kinds == {"image": onnx.TensorProto.FLOAT}  # nvinfer hands over no bytes
    assert any(node.op_type == "QuantizeLinear" for node in made.graph.node)


@pytest.mark.parametrize("inside", [None, Inside(NmsOptions(), True)], ids=["outside", "inside"])
def test_the_key_file_has_keys_of_nvinfer(inside: Inside | None, tmp_path: Path) -> None:
    of, sidecar = with_steps(model(tmp_path / "m", Precision.FP32), **PLAIN)
    nms = NmsOptions(nms_threshold=0.6, keep_top_k=77)
    deepstream.write(of, engine(of, inside), sidecar, nms, tmp_path / "d")
    assert {path.name for path in (tmp_path / "d").iterdir()} == {deepstream.CONFIG, "model.onnx", "labels.txt"}
    text = (tmp_path / "d" / deepstream.CONFIG).read_text()
    config = parsed(text)
    assert problems(config) == []
    own, attributes = config["property"], config["class-attrs-all"]
    assert all((tmp_path / "d" / own[key]).is_file() for key in ("onnx-file", "labelfile-path"))
    assert (tmp_path / "d" / "labels.txt").read_text().split() == list("abcdefghijkl")
    assert (own["num-detected-classes"], own["infer-dims"], own["network-type"]) == ("12", f"3;{SIZE};{SIZE}", "0")
    assert own["scaling-filter"] == "2" and own["maintain-aspect-ratio"] == "0" and own["model-color-format"] == "0"
    assert "not part of this bundle" in text  # the parser
    if inside is None:
        assert (own["cluster-mode"], attributes["nms-iou-threshold"], attributes["topk"]) == ("2", "0.6", "77")
        assert float(own["net-scale-factor"]) == pytest.approx(1 / 127.5) and own["offsets"].startswith("25.5;51;76.5")
    else:
        assert own["cluster-mode"] == "4" and set(attributes) == {"pre-cluster-threshold"}
        assert (own["net-scale-factor"], own["offsets"]) == ("1", "0;0;0")
    modes = {"fp32": "0", "fp16": "2", "int8": "1", "int8_fp16": "1"}
    for precision, mode in modes.items():
        other = deepstream.config(engine(of, inside, precision=precision), sidecar, nms)
        assert parsed(other)["property"]["network-mode"] == mode


def test_the_judge_of_key_files_sees_faults() -> None:
    assert problems(parsed("[property]\nonnx=a\nbatch-size=x\n[other]\n")) == [
        "other", "property.onnx", "property.batch-size=x",
    ]  # fmt: skip
    with pytest.raises(configparser.Error):
        parsed("[property]\nbatch-size=1\nbatch-size=2\n")


@pytest.mark.parametrize(
    ("steps", "changes", "words"),
    [
        ({"std": (0.2, 0.3, 0.4)}, {}, "run it again with export.preprocess=graph"),
        ({**PLAIN, "interpolation": "area"}, {}, "no filter like model.interpolation=area; it has nearest, linear"),
        (PLAIN, {"precision": "bf16"}, "bundle an engine without bf16"),
        (PLAIN, {"backend": "openvino"}, "no engine of openvino; bundle one of tensorrt, onnxruntime"),
    ],
)
def test_what_nvinfer_cannot_do_is_refused(
    steps: dict[str, Any], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    of, _ = with_steps(model(tmp_path / "m", Precision.FP32), **steps)
    with pytest.raises(InputError, match=f"layout=deepstream: .*{words}"):
        require_layout(engine(of, **changes), "deepstream")


def test_normalisation_in_the_graph_lifts_the_condition(tmp_path: Path) -> None:
    of, sidecar = with_steps(model(tmp_path / "m", Precision.FP32), std=(0.2, 0.3, 0.4))
    require_layout(engine(of, Inside(None, True)), "deepstream")
    assert deepstream.normalisation(engine(of, Inside(None, True)), sidecar) == (1.0, [0.0, 0.0, 0.0])
    unscaled = dataclasses.replace(sidecar, scale=False, mean=(1.0, 2.0, 3.0), std=(4.0, 4.0, 4.0))
    assert deepstream.normalisation(engine(of), unscaled) == (0.25, [1.0, 2.0, 3.0])


def test_a_bundle_with_the_folder_is_still_a_bundle(tmp_path: Path) -> None:
    of = stand_in(tmp_path / "model")
    made = build("onnxruntime", of, tmp_path / "e", Inside(NmsOptions(), True))
    require_layout(made, "deepstream")
    inputs = BundleStage.Inputs(engine=made, exported=of, labeled=labeled(unlabeled(tmp_path / "images")))
    options = BundleOptions(run_id="r", model="m", golden=2, layout="deepstream")
    bundle = BundleStage(options).run(inputs, FakeContext(tmp_path / "b"))
    assert problems(parsed(bundle.path(f"deepstream/{deepstream.CONFIG}").read_text())) == []
    assert verify(open_bundle(bundle.root, Path("b.zip")))["agreement"] == 1.0


def test_the_page_names_the_file_that_there_is() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    (named,) = re.findall(r"nvinfer config-file-path=BUNDLE/(\S+)", page)
    assert named == f"deepstream/{deepstream.CONFIG}"
