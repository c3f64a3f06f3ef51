"""Paddle Serving's folder: its configuration by protobuf's own parser, and what its program takes and gives."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import Engine, Precision, hash_files
from stages.bundle import paddle_serving
from stages.bundle.bundle import BundleStage
from stages.bundle.contents import open_bundle
from stages.bundle.layouts import require_layout
from stages.bundle.verify import verify
from stages.errors import InputError
from stages.options.accuracy import NmsOptions
from stages.options.bundle import BundleOptions
from stages.programs.nms_ending import with_nms
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.backends.test_inside import build
from tests.stages.bundle.test_bundle import labeled, stand_in
from tests.stages.engines import unlabeled
from tests.stages.programs.test_nms_ending import WHOLE

FIELDS = {  # of general_model_config.proto: field -> number, type, repeated
    "Var": {"name": (1, "STRING", 0), "alias_name": (2, "STRING", 0), "is_lod_tensor": (3, "BOOL", 0),
            "KIND_type": (4, "INT32", 0), "shape": (5, "INT32", 1)},
}  # fmt: skip


def message() -> Any:
    """The class of Serving's ``GeneralModelConfig``, without the graph in it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="general_model_config.proto", package="p", syntax="proto2")
    whole = descriptor_pb2.DescriptorProto(name="GeneralModelConfig")
    for number, kind in ((2, "feed"), (3, "fetch")):
        own = file.message_type.add(name=f"{kind.title()}Var")
        for name, (place, dtype, repeated) in FIELDS["Var"].items():
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            own.field.add(name=name.replace("KIND", kind), number=place, type=f"TYPE_{dtype}", label=label)
        whole.field.add(name=f"{kind}_var", number=number, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED,
                        type_name=f".p.{kind.title()}Var")  # fmt: skip
    file.message_type.append(whole)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("p.GeneralModelConfig"))


def engine(folder: Path, **changes: Any) -> Engine:
    folder.mkdir(parents=True)
    (folder / "x").write_text("x")
    made = Engine(
        root=folder, files=hash_files(folder), backend="paddle_inference", precision=Precision.INT8, main="x",
        input_size=[320, 416], batch=1, scale_factor=True, image_input="image", scale_input="scale_factor",
        boxes_output="boxes", scores_output="scores",
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def paddle_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.pdmodel").write_bytes(with_nms(WHOLE, NmsOptions()))
    (folder / "model.pdiparams").write_bytes(b"parameters")
    return folder


def test_protobuf_reads_both_forms_alike(tmp_path: Path) -> None:
    from google.protobuf import text_format

    paddle_serving.write(engine(tmp_path / "e"), paddle_folder(tmp_path / "p"), tmp_path / "s")
    read = []
    for side in ("serving_server", "serving_client"):
        text = (tmp_path / "s" / side / f"{side}_conf.prototxt").read_text()
        binary = message()()
        binary.ParseFromString((tmp_path / "s" / side / f"{side}_conf.stream.prototxt").read_bytes())
        read += [text_format.Parse(text, message()()), binary]
    assert len({text_format.MessageToString(config) for config in read}) == 1
    config = read[0]
    feeds = [(v.name, v.alias_name, v.is_lod_tensor, v.feed_type, list(v.shape)) for v in config.feed_var]
    fetches = [(v.name, v.alias_name, v.is_lod_tensor, v.fetch_type, list(v.shape)) for v in config.fetch_var]
    assert feeds == [
        ("image", "image", False, 1, [3, 320, 416]),
        ("scale_factor", "scale_factor", False, 1, [2]),
    ]
    assert fetches == [("bbox", "bbox", True, 1, [-1]), ("bbox_num", "bbox_num", True, 2, [-1])]


def test_the_server_has_the_program_with_these_outputs(tmp_path: Path) -> None:
    folder = paddle_folder(tmp_path / "p")
    paddle_serving.write(engine(tmp_path / "e"), folder, tmp_path / "s")
    server = tmp_path / "s" / "serving_server"
    for name in ("model.pdmodel", "model.pdiparams"):
        assert (server / name).read_bytes() == (folder / name).read_bytes()
    _, fetches = paddle_serving.variables(engine(tmp_path / "f"))
    assert all(each.name.encode() in (server / "model.pdmodel").read_bytes() for each in fetches)
    assert not list((tmp_path / "s" / "serving_client").glob("*.pd*"))


def test_a_bundle_has_the_folder_and_is_one(tmp_path: Path) -> None:
    of = stand_in(tmp_path / "model")
    inputs = BundleStage.Inputs(
        engine=build("onnxruntime", of, tmp_path / "e", None),  # whatever the engine is, paddle/ is served
        exported=of,
        labeled=labeled(unlabeled(tmp_path / "images")),
    )
    options = BundleOptions(run_id="r", model="m", golden=1, layout="paddle_serving")
    bundle = BundleStage(options).run(inputs, FakeContext(tmp_path / "b"))
    served = bundle.path("paddle_serving/serving_server/model.pdmodel").read_bytes()
    assert served == bundle.path("paddle/model.pdmodel").read_bytes()
    assert bundle.path("paddle_serving/serving_client/serving_client_conf.prototxt").read_text().count("fetch_var") == 2
    assert verify(open_bundle(bundle.root, Path("b.zip")))["agreement"] == 1.0


def test_what_it_cannot_serve_is_refused(tmp_path: Path) -> None:
    require_layout(engine(tmp_path / "good"), "paddle_serving")
    for number, (changes, words) in enumerate(
        (
            ({"backend": "openvino"}, "no engine of openvino; bundle one of paddle_inference"),
            ({"scale_factor": False}, "takes no scale_factor"),
            ({"image_input": "x"}, "its inputs are called x and scale_factor"),
        )
    ):
        with pytest.raises(InputError, match=f"layout=paddle_serving: .*{words}"):
            require_layout(engine(tmp_path / str(number), **changes), "paddle_serving")


def test_the_page_names_the_folders_that_there_are(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    (named,) = re.findall(r"python -m paddle_serving_server.serve --model BUNDLE/(\S+)", page)
    paddle_serving.write(engine(tmp_path / "e"), paddle_folder(tmp_path / "p"), tmp_path / "paddle_serving")
    assert (tmp_path / named / "serving_server_conf.prototxt").is_file()
