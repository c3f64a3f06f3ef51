"""Folders as model servers want them, beside the engine in a bundle: for Triton, OpenVINO Model Server, DeepStream and
Paddle Serving.

::

    triton/NAME/config.pbtxt, labels.txt, 1/model.onnx (or model.xml and model.bin, or model.plan)
    ovms/config.json, ovms/NAME/1/model.xml and model.bin (or model.onnx)
    deepstream/            see `stages/bundle/deepstream.py`
    paddle_serving/        see `stages/bundle/paddle_serving.py`

The first two hold copies of the engine's files, so that the folder can be mounted as it is. Tensors have fixed shapes,
batch included: Triton's ``max_batch_size`` is 0, which means that requests have the shapes of the model.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from stages.artifacts import Engine
from stages.bundle import deepstream, paddle_form
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import InputError

TRITON, OVMS, DEEPSTREAM, PADDLE_SERVING = "triton", "ovms", "deepstream", "paddle_serving"
LAYOUTS = ("", TRITON, OVMS, DEEPSTREAM, PADDLE_SERVING)
"""What `detpress bundle layout=` takes; empty: none."""
_VERSION = "1"
_TRITON = {  # backend -> file of the engine -> what Triton's own backend calls it
    "onnxruntime": {"model.onnx": "model.onnx"},
    "openvino": {"model.xml": "model.xml", "model.bin": "model.bin"},
    "tensorrt": {"model.engine": "model.plan"},
}
_TRITON_BACKENDS = {"onnxruntime": "onnxruntime", "openvino": "openvino", "tensorrt": "tensorrt"}
_OVMS = {
    "openvino": {"model.xml": "model.xml", "model.bin": "model.bin"},
    "onnxruntime": {"model.onnx": "model.onnx"},
}
_BACKENDS = {
    TRITON: tuple(_TRITON),
    OVMS: tuple(_OVMS),
    DEEPSTREAM: ("tensorrt", "onnxruntime"),
    PADDLE_SERVING: ("paddle_inference",),
}
"""Layout -> the backends whose engines it takes."""


def require_layout(engine: Engine, layout: str) -> None:
    """Raises InputError for a layout that there is not, or that an engine does not fit."""
    if layout not in LAYOUTS:
        raise InputError(f"layout={layout}: there is no such layout; there are {', '.join(LAYOUTS[1:])}")
    known = _BACKENDS.get(layout)
    if known is not None and engine.backend not in known:
        raise InputError(f"layout={layout}: it takes no engine of {engine.backend}; bundle one of {', '.join(known)}")
    reason = None
    if layout == DEEPSTREAM:
        reason = deepstream.why_not(engine, Sidecar.read(engine.path(FILE_NAME)))
    elif layout == PADDLE_SERVING:
        reason = paddle_form.why_not(engine)
    if reason is not None:
        raise InputError(f"layout={layout}: {reason}")
    if layout == TRITON and engine.options.get("provider", "cpu") == "tensorrt":
        raise InputError("layout=triton: bundle the engine of the backend tensorrt in place of ONNX Runtime's provider")


def write(engine: Engine, layout: str, model: str, labels: Sequence[str], folder: Path) -> None:
    """Write the folder of a layout that holds the engine's files. ``model`` is made a name that servers take."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", model).lstrip(".") or "detector"
    if layout == TRITON:
        _copy(engine, _TRITON[engine.backend], folder / name / _VERSION)
        (folder / name / "labels.txt").write_text("".join(f"{label}\n" for label in labels), encoding="utf-8")
        (folder / name / "config.pbtxt").write_text(triton_config(engine, name, len(labels)), encoding="utf-8")
    elif layout == OVMS:
        _copy(engine, _OVMS[engine.backend], folder / name / _VERSION)
        (folder / "config.json").write_text(json.dumps(ovms_config(engine, name), indent=1) + "\n", encoding="utf-8")


def _copy(engine: Engine, files: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True)
    for source, target in files.items():
        shutil.copyfile(engine.path(source), folder / target)


def triton_config(engine: Engine, name: str, classes: int) -> str:
    """``config.pbtxt``: a protobuf text of Triton's ``ModelConfig``."""
    gpu = engine.backend == "tensorrt" or engine.options.get("provider", "cpu") != "cpu"
    parts = [
        f"name: {json.dumps(name)}",
        f"backend: {json.dumps(_TRITON_BACKENDS[engine.backend])}",
        "max_batch_size: 0",
        *(_tensor("input", *tensor) for tensor in _inputs(engine)),
        *(_tensor("output", *tensor) for tensor in _outputs(engine, classes)),
        f"instance_group [ {{ kind: {'KIND_GPU' if gpu else 'KIND_CPU'} count: 1 }} ]",
        *(_parameter(key, value) for key, value in _settings(engine).items()),
    ]
    return "\n".join(parts) + "\n"


def _tensor(kind: str, name: str, dtype: str, shape: Sequence[int]) -> str:
    return f"{kind} [ {{ name: {json.dumps(name)} data_type: {dtype} dims: {list(shape)} }} ]"


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {json.dumps(key)} value {{ string_value: {json.dumps(value)} }} }}"


def _inputs(engine: Engine) -> list[tuple[str, str, list[int]]]:
    size = engine.input_size
    image = [engine.batch, *size, 3] if engine.takes_pixels else [engine.batch, 3, *size]
    found = [(engine.image_input, "TYPE_UINT8" if engine.takes_pixels else "TYPE_FP32", image)]
    return [*found, (engine.scale_input, "TYPE_FP32", [engine.batch, 2])] if engine.scale_factor else found


def _outputs(engine: Engine, classes: int) -> list[tuple[str, str, list[int]]]:
    batch = engine.batch
    if engine.inside is not None and engine.inside.nms is not None:
        most = engine.inside.nms.keep_top_k
        shapes = ([batch, 1], [batch, most, 4], [batch, most], [batch, most])
        types = ("TYPE_INT32", "TYPE_FP32", "TYPE_FP32", "TYPE_INT32")
        return list(zip(engine.outputs, types, shapes, strict=True))
    # How many anchors there are is the graph's to say; -1 is any number.
    shapes_ = ([batch, -1, 4], [batch, classes, -1])
    return list(zip(engine.outputs, ("TYPE_FP32", "TYPE_FP32"), shapes_, strict=True))


def _settings(engine: Engine) -> dict[str, str]:
    threads = str(engine.options.get("threads", 1))
    if engine.backend == "onnxruntime":
        return {"intra_op_thread_count": threads, "inter_op_thread_count": "1"}
    if engine.backend == "openvino":  # no dynamic batch: the shapes are fixed
        return {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": "1", "SKIP_OV_DYNAMIC_BATCHSIZE": "YES"}
    return {}


def ovms_config(engine: Engine, name: str) -> dict[str, object]:
    """``config.json``; the path is relative to it. Floats compute as in the engine: by itself OpenVINO takes bf16."""
    hint = {"bf16": "bf16", "fp16": "f16"}.get(engine.variant.floats.value, "f32")
    plugin = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": int(engine.options.get("threads", 1)),
        "INFERENCE_PRECISION_HINT": engine.options.get("precision_hint", "f32") if hint == "f32" else hint,
    }
    config = {"name": name, "base_path": name, "target_device": "CPU", "plugin_config": plugin}
    return {"model_config_list": [{"config": config}]}
