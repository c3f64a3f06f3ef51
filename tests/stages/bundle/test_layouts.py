"""The folders of model servers: what is in them, and what Triton's own protobuf says of its config."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import Engine, Precision, hash_files
from stages.bundle.bundle import BundleStage
from stages.bundle.contents import open_bundle
from stages.bundle.layouts import require_layout, triton_config, write
from stages.bundle.verify import verify
from stages.errors import InputError
from stages.options.accuracy import NmsOptions
from stages.options.bundle import BundleOptions
from stages.options.export import Inside
from tests.fakes import FakeContext
from tests.stages.backends.test_inside import build
from tests.stages.bundle.test_bundle import labeled, stand_in
from tests.stages.engines import unlabeled

FILES = {"onnxruntime": ("model.onnx",), "openvino": ("model.xml", "model.bin"), "tensorrt": ("model.engine",)}


def engine(folder: Path, backend: str, inside: Inside | None = None, **changes: Any) -> Engine:
    folder.mkdir(parents=True)
    for name in FILES.get(backend, ("x",)):
        (folder / name).write_text(f"{backend} {name}")
    made = Engine(
        root=folder, files=hash_files(folder), backend=backend, precision=Precision.INT8,
        main=FILES.get(backend, ("x",))[0], input_size=[320, 416], batch=2, scale_factor=True, image_input="image",
        scale_input="scale_factor", boxes_output="boxes", scores_output="scores", options={"threads": 3}, inside=inside,
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize(
    ("backend", "files"),
    [("onnxruntime", {"model.onnx"}), ("openvino", {"model.xml", "model.bin"}), ("tensorrt", {"model.plan"})],
)
def test_a_triton_repository_has_a_model_with_one_version(backend: str, files: set[str], tmp_path: Path) -> None:
    made = engine(tmp_path / "e", backend)
    write(made, "triton", "PP-YOLOE s/m", ["cat", "dog"], tmp_path / "triton")
    folder = tmp_path / "triton" / "PP-YOLOE_s_m"
    assert {path.name for path in (folder / "1").iterdir()} == files
    assert (folder / "labels.txt").read_text() == "cat\ndog\n"
    assert (folder / "1" / sorted(files)[-1]).read_text().startswith(backend)
    text = (folder / "config.pbtxt").read_text()
    assert 'name: "PP-YOLOE_s_m"' in text and f'backend: "{backend}"' in text and "max_batch_size: 0" in text
    assert ("KIND_GPU" in text) == (backend == "tensorrt")


CASES = {
    "outside": (
        None,
        [("image", "TYPE_FP32", [2, 3, 320, 416]), ("scale_factor", "TYPE_FP32", [2, 2])],
        [("boxes", "TYPE_FP32", [2, -1, 4]), ("scores", "TYPE_FP32", [2, 7, -1])],
    ),
    "inside": (
        Inside(NmsOptions(keep_top_k=50), True),
        [("image", "TYPE_UINT8", [2, 320, 416, 3]), ("scale_factor", "TYPE_FP32", [2, 2])],
        [
            ("num_dets", "TYPE_INT32", [2, 1]),
            ("boxes", "TYPE_FP32", [2, 50, 4]),
            ("scores", "TYPE_FP32", [2, 50]),
            ("labels", "TYPE_INT32", [2, 50]),
        ],
    ),
}


@pytest.mark.parametrize("backend", list(FILES))
@pytest.mark.parametrize("case", list(CASES))
def test_tritons_protobuf_reads_the_config(backend: str, case: str, tmp_path: Path) -> None:
    messages = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="needs tritonclient[grpc]")
    from google.protobuf import text_format

    inside, inputs, outputs = CASES[case]
    text = triton_config(engine(tmp_path / "e", backend, inside), "a", 7)
    config = text_format.Parse(text, messages.ModelConfig())
    named = messages.DataType.Name
    assert [(t.name, named(t.data_type), list(t.dims)) for t in config.input] == inputs
    assert [(t.name, named(t.data_type), list(t.dims)) for t in config.output] == outputs
    assert (config.name, config.backend, config.max_batch_size) == ("a", backend, 0)
    assert len(config.instance_group) == 1 and config.instance_group[0].count == 1
    threads = {key: value.string_value for key, value in config.parameters.items() if "3" in value.string_value}
    assert len(threads) == (0 if backend == "tensorrt" else 1)


def test_the_config_lists_each_tensor_with_type_and_shape(tmp_path: Path) -> None:
    for number, (inside, inputs, outputs) in enumerate(CASES.values()):
        text = triton_config(engine(tmp_path / str(number), "onnxruntime", inside), "a", 7)
        for kind, tensors in (("input", inputs), ("output", outputs)):
            for name, dtype, dims in tensors:
                assert f'{kind} [ {{ name: "{name}" data_type: {dtype} dims: {dims} }} ]' in text


def test_model_servers_config_names_a_folder_beside_it(tmp_path: Path) -> None:
    write(engine(tmp_path / "e", "openvino"), "ovms", "m", ["a"], tmp_path / "ovms")
    (entry,) = json.loads((tmp_path / "ovms" / "config.json").read_text())["model_config_list"]
    config = entry["config"]
    assert (tmp_path / "ovms" / config["base_path"] / "1" / "model.xml").is_file() and config["name"] == "m"
    assert config["plugin_config"]["INFERENCE_PRECISION_HINT"] == "f32"
    assert config["plugin_config"]["INFERENCE_NUM_THREADS"] == 3


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    for backend, layout, words in (
        ("onnxruntime", "seldon", "there are triton, ovms, deepstream, paddle_serving"),
        ("paddle_inference", "triton", "no engine of paddle_inference; bundle one of onnxruntime, openvino, tensorrt"),
        ("tensorrt", "ovms", "no engine of tensorrt"),
    ):
        with pytest.raises(InputError, match=words):
            require_layout(engine(tmp_path / f"{backend}-{layout}", backend), layout)
    with pytest.raises(InputError, match="the backend tensorrt"):
        require_layout(engine(tmp_path / "p", "onnxruntime", options={"provider": "tensorrt"}), "triton")
    require_layout(engine(tmp_path / "none", "fastdeploy"), "")


def test_a_bundle_with_a_servers_folder_is_still_a_bundle(tmp_path: Path) -> None:
    model = stand_in(tmp_path / "model")
    inside = Inside(NmsOptions(), True)
    made = build("onnxruntime", model, tmp_path / "e", inside)
    inputs = BundleStage.Inputs(engine=made, exported=model, labeled=labeled(unlabeled(tmp_path / "images")))
    options = BundleOptions(run_id="r", model="m", golden=2, layout="triton")
    bundle = BundleStage(options).run(inputs, FakeContext(tmp_path / "b"))
    copied = bundle.path("triton/m/1/model.onnx").read_bytes()
    assert copied == bundle.path("engine/model.onnx").read_bytes()  # with what it says of itself
    assert "TYPE_UINT8" in bundle.path("triton/m/config.pbtxt").read_text()
    assert verify(open_bundle(bundle.root, Path("b.zip")))["agreement"] == 1.0
