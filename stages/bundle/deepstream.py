"""The folder ``deepstream/`` of a bundle: what DeepStream's element ``nvinfer`` takes of a detector.

::

    deepstream/config_infer_primary.txt, model.onnx, labels.txt

``nvinfer`` makes a TensorRT engine of the ONNX file where it runs. It resizes frames, computes ``net-scale-factor *
(pixel - offset)`` of each colour in float32 planes and hands over one image tensor. So the file has no other input:
what the network calls ``scale_factor`` is 1 in it. That leaves boxes in pixels of the network's input, and ``nvinfer``
scales them back. https://docs.nvidia.com/metropolis/deepstream/dev-guide/text/DS_plugin_gst-nvinfer.html has the keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.tensorrt.recipe import RECIPE
from stages.detection.sidecar import Sidecar
from stages.numerics.variants import FloatFormat
from stages.options.accuracy import NmsOptions
from stages.report.schema_thresholds import MovedThresholds

if TYPE_CHECKING:
    import onnx

CONFIG, ONNX, LABELS = "config_infer_primary.txt", "model.onnx", "labels.txt"
_FILTERS = {"nearest": 0, "linear": 1, "cubic": 2}
"""How images are resized -> ``scaling-filter``; NVIDIA's filters are not OpenCV's to the last bit."""
_PARSER = "NvDsInferParseCustomEfficientNMS"
_INSIDE = f"""\
# NMS is in the model: num_dets, boxes (x1, y1, x2, y2 in pixels of the network's input), scores, labels, in this order.
# nvinfer's own parser does not read that. {_PARSER} does; it has to be in a library
# of this name, in this folder, which you build of the sources of your DeepStream: it is not part of this bundle.
parse-bbox-func-name={_PARSER}
custom-lib-path=libnvds_infercustomparser.so
cluster-mode=4
"""
_OUTSIDE = """\
# The model gives boxes [anchors, 4] (x1, y1, x2, y2 in pixels of the network's input) and scores [classes, anchors].
# nvinfer's own parser does not read that: write one that gives every box whose score is above the threshold below, and
# build it as a library of this name in this folder. It is not part of this bundle. nvinfer then does NMS.
parse-bbox-func-name=NvDsInferParseCustomRawBoxes
custom-lib-path=libnvds_infercustomparser.so
cluster-mode=2
"""


def why_not(engine: Engine, sidecar: Sidecar) -> str | None:
    """Why ``nvinfer`` cannot feed a detector; ``None`` if it can."""
    if engine.variant.floats is FloatFormat.BF16:
        return "nvinfer computes in FP32, FP16 and INT8; bundle an engine without bf16"
    if sidecar.interpolation not in _FILTERS:
        return f"nvinfer has no filter like model.interpolation={sidecar.interpolation}; it has {', '.join(_FILTERS)}"
    if not engine.takes_pixels and len(set(sidecar.std)) > 1:
        return (
            f"nvinfer divides all colours by one number and this network's std are {list(sidecar.std)}; run it again "
            "with export.preprocess=graph, which puts that into the model"
        )
    return None


def write(
    exported: ExportedModel,
    engine: Engine,
    sidecar: Sidecar,
    nms: NmsOptions,
    folder: Path,
    moved: MovedThresholds | None = None,
) -> None:
    """Write the folder.

    Args:
        moved: thresholds that belong on the engine's scores, if any are known.

    Raises:
        StageError: the exported model is damaged.
    """
    import onnx

    folder.mkdir(parents=True)
    onnx.save(network(exported, engine, sidecar), str(folder / ONNX))
    (folder / LABELS).write_text("".join(f"{label}\n" for label in sidecar.labels), encoding="utf-8")
    (folder / CONFIG).write_text(config(engine, sidecar, nms, moved), encoding="utf-8")


def network(exported: ExportedModel, engine: Engine, sidecar: Sidecar) -> onnx.ModelProto:
    """The exported model as TensorRT takes it, with the image as its only input: float32 [batch, 3, H, W], R, G, B."""
    import onnx

    from stages.lowering.inside import with_nms, with_pixels
    from stages.lowering.passes import lower

    model = onnx.load(str(exported.path(ONNX)))
    if exported.precision is Precision.INT8:
        model, _ = lower(model, RECIPE)
    if engine.inside is not None and engine.inside.nms is not None:
        model = with_nms(model, engine.inside.nms, exported.boxes_output, exported.scores_output, plugin=True)
    if engine.takes_pixels:
        model = _in_planes(with_pixels(model, exported.image_input, sidecar), exported.image_input)
    if exported.scale_factor:
        _fix(model, exported.scale_input, np.ones((exported.batch, 2), np.float32))
    return model


def _in_planes(model: onnx.ModelProto, image: str) -> onnx.ModelProto:
    """The same model with pixels from 0 to 255 in float32 planes where it takes them as uint8 [batch, H, W, 3].

    Without the first two steps of `stages.lowering.inside.with_pixels`, which make such planes of them.
    """
    from onnx import TensorProto

    steps = ("pixels/cast", "pixels/transpose")
    nodes = [node for node in model.graph.node if node.name not in steps]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for node in model.graph.node:
        for i, name in enumerate(node.input):
            if name == "pixels/planes":
                node.input[i] = image
    for given in model.graph.input:
        if given.name == image:
            tensor = given.type.tensor_type
            batch, height, width, channels = [side.dim_value for side in tensor.shape.dim]
            tensor.elem_type = TensorProto.FLOAT
            for side, value in zip(tensor.shape.dim, (batch, channels, height, width), strict=True):
                side.dim_value = value
    return model


def _fix(model: onnx.ModelProto, name: str, value: np.ndarray) -> None:  # type: ignore[type-arg]
    """Put a constant in place of an input."""
    from onnx import numpy_helper

    others = [given for given in model.graph.input if given.name != name]
    del model.graph.input[:]
    model.graph.input.extend(others)
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def normalisation(engine: Engine, sidecar: Sidecar) -> tuple[float, list[float]]:
    """``net-scale-factor`` and ``offsets`` (R, G, B): of pixels from 0 to 255."""
    if engine.takes_pixels:
        return 1.0, [0.0, 0.0, 0.0]
    largest = 255.0 if sidecar.scale else 1.0
    return 1 / (largest * sidecar.std[0]), [largest * mean for mean in sidecar.mean]


def config(engine: Engine, sidecar: Sidecar, nms: NmsOptions, moved: MovedThresholds | None = None) -> str:
    """``config_infer_primary.txt``: GLib's key file; paths are relative to it."""
    factor, offsets = normalisation(engine, sidecar)
    mode = 1 if engine.variant.weights is Precision.INT8 else 2 if engine.variant.floats is FloatFormat.FP16 else 0
    lines = [
        "[property]",
        "gpu-id=0",
        "gie-unique-id=1",
        "process-mode=1",
        f"onnx-file={ONNX}",
        f"labelfile-path={LABELS}",
        f"batch-size={engine.batch}",
        f"infer-dims={_list([3, *engine.input_size])}",
        "# 0: RGB",
        "model-color-format=0",
        f"net-scale-factor={factor:.17g}",
        f"offsets={_list(offsets)}",
        "maintain-aspect-ratio=0",
        f"scaling-filter={_FILTERS[sidecar.interpolation]}",
        "# 0: FP32, 1: INT8 (by the quantization in the file, without a calibration file), 2: FP16",
        f"network-mode={mode}",
        "# 0: detector",
        "network-type=0",
        f"num-detected-classes={len(sidecar.labels)}",
        (_INSIDE if engine.nms_inside else _OUTSIDE).rstrip("\n"),
        "",
        "[class-attrs-all]",
        f"pre-cluster-threshold={sidecar.draw_threshold:g}",
        *_moved(moved),
        *([] if engine.nms_inside else [f"nms-iou-threshold={nms.nms_threshold:g}", f"topk={nms.keep_top_k}"]),
    ]
    return "\n".join(lines) + "\n"


def _moved(moved: MovedThresholds | None) -> list[str]:
    """Comments below the threshold of all classes: the sections that would set those of single ones."""
    if moved is None:
        return []
    of = [(i, one) for i, one in enumerate(moved["classes"]) if one["threshold"] != one["base"]]
    return [
        line
        for i, one in of
        for line in (
            f"# FP32's {one['base']:g} belongs at {one['threshold']:.4f} on the measured engine's scores; to use that,",
            f"# add a section at the end, [class-attrs-{i}] with pre-cluster-threshold={one['threshold']:.4f}",
        )
    ]


def _list(values: Sequence[float]) -> str:
    return ";".join(f"{value:.17g}" for value in values)
