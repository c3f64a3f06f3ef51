"""What an engine may do itself: NMS behind its outputs, and the normalisation of pixels before its image input.

Applied to the graph that a backend has lowered, so that quantization, export and lowering are the same with it.

With NMS inside, an engine has the outputs ``NMS_OUTPUTS``, of a fixed size, K being ``keep_top_k``: ``num_dets`` int32
[batch, 1], ``boxes`` float32 [batch, K, 4] as (x1, y1, x2, y2), ``scores`` float32 [batch, K], ``labels`` int32
[batch, K]; best first. Behind the first ``num_dets`` of an image, boxes and scores are 0 and labels -1 (TensorRT's
plug-in leaves anything there).

ONNX's operator has no limit like ``nms_top_k``: a class with more candidates than that may keep faint boxes, behind all
others, that NMS outside never looks at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from stages.artifacts import ExportedModel
from stages.errors import StageError
from stages.options.accuracy import NmsOptions
from stages.options.export import NMS_OUTPUTS, Inside

ROWS = ("bbox", "bbox_num")
"""The outputs in Paddle's form: float32 [found, 6] as (class, score, x1, y1, x2, y2), and int32 [batch]."""
PLUGIN, PLUGIN_DOMAIN = "EfficientNMS_TRT", "TRT"
_NOTHING = -1.0
"""The score of a place that no detection takes."""


class Normalisation(Protocol):
    """What of `stages.detection.sidecar.Sidecar` an engine with pixels as its input does itself."""

    @property
    def mean(self) -> Sequence[float]: ...

    @property
    def std(self) -> Sequence[float]:
        """Like ``mean`` per channel, in the order R, G, B."""

    @property
    def scale(self) -> bool:
        """Whether values are divided by 255 first."""


def put_inside(
    model: onnx.ModelProto,
    inside: Inside | None,
    exported: ExportedModel,
    normalisation: Normalisation,
    *,
    plugin: bool = False,
) -> onnx.ModelProto:
    """The model with what ``inside`` asks for; itself where that is nothing.

    Args:
        exported: whose inputs and outputs it has.
        plugin: see `with_nms`.
    """
    if inside is not None and inside.nms is not None:
        model = with_nms(model, inside.nms, exported.boxes_output, exported.scores_output, plugin=plugin)
    if inside is not None and inside.preprocess:
        model = with_pixels(model, exported.image_input, normalisation)
    return model


def with_nms(
    model: onnx.ModelProto, nms: NmsOptions, boxes: str, scores: str, *, plugin: bool = False
) -> onnx.ModelProto:
    """A copy that ends with NMS, see the module's docstring.

    Args:
        boxes, scores: names of the outputs [batch, N, 4] and [batch, classes, N].
        plugin: TensorRT's plug-in for it rather than ONNX's operators.

    Raises:
        StageError: the graph has no such outputs of fixed shapes.
    """
    graph = _Ending(model, boxes, scores)
    found = graph.plugin(nms) if plugin else graph.padded(nms)
    batch, most = graph.batch, nms.keep_top_k
    shapes: list[list[int]] = [[batch, 1], [batch, most, 4], [batch, most], [batch, most]]
    kinds = (TensorProto.INT32, TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.INT32)
    for name, made in zip(NMS_OUTPUTS, found, strict=True):
        graph.node("Identity", [made], out=name)
    if plugin:
        graph.model.opset_import.append(helper.make_opsetid(PLUGIN_DOMAIN, 1))
    return graph.ending_in(map(helper.make_tensor_value_info, NMS_OUTPUTS, kinds, shapes))


def with_nms_rows(model: onnx.ModelProto, nms: NmsOptions, boxes: str, scores: str) -> onnx.ModelProto:
    """A copy that ends with NMS in the form of ``ROWS``, which PaddleDetection's scripts read; arguments as above."""
    graph = _Ending(model, boxes, scores)
    counts, kept, own, labels = graph.padded(nms)
    numbers = graph.node("Cast", [labels], to=TensorProto.FLOAT)
    columns = [graph.node("Unsqueeze", [name, graph.constant([2])]) for name in (numbers, own)]
    joined = graph.node("Concat", [*columns, kept], axis=2)
    rows = []
    for image in range(graph.batch):
        table, count = (graph.one(name, image) for name in (joined, counts))
        limit = graph.node("Cast", [count], to=TensorProto.INT64)
        rows.append(graph.node("Slice", [table, graph.constant([0]), limit, graph.constant([0])]))
    graph.node("Concat", rows, out=ROWS[0], axis=0)
    graph.node("Reshape", [counts, graph.constant([-1])], out=ROWS[1])
    return graph.ending_in(
        [
            helper.make_tensor_value_info(ROWS[0], TensorProto.FLOAT, ["found", 6]),
            helper.make_tensor_value_info(ROWS[1], TensorProto.INT32, [graph.batch]),
        ]
    )


def with_pixels(model: onnx.ModelProto, image: str, normalisation: Normalisation) -> onnx.ModelProto:
    """A copy whose image input is uint8 [batch, H, W, 3] in the order R, G, B, of the size that the network takes.

    Args:
        image: name of the input, float32 [batch, 3, H, W].

    Raises:
        StageError: the graph has no such input of a fixed shape.
    """
    changed = _copy(model)
    graph = changed.graph
    given = {value.name: value for value in graph.input}.get(image)
    shape = [] if given is None else _shape(given)
    if given is None or len(shape) != 4 or any(side < 1 for side in shape):
        raise StageError(f"the graph has no image input {image!r} of a fixed shape; export the model again")
    inner = _rename(graph, image, f"{image}/normalised")
    largest = 255.0 if normalisation.scale else 1.0
    std = np.asarray(normalisation.std, np.float64)
    factor, offset = 1 / (largest * std), -np.asarray(normalisation.mean, np.float64) / std
    constants = {"pixels/factor": factor, "pixels/offset": offset}
    graph.initializer.extend(
        numpy_helper.from_array(value.astype(np.float32).reshape(1, 3, 1, 1), name) for name, value in constants.items()
    )
    steps = [
        # First of all: TensorRT takes bytes at an input only to make another type of them.
        helper.make_node("Cast", [image], ["pixels/float"], "pixels/cast", to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels/float"], ["pixels/planes"], "pixels/transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["pixels/planes", "pixels/factor"], ["pixels/scaled"], "pixels/mul"),
        helper.make_node("Add", ["pixels/scaled", "pixels/offset"], [inner], "pixels/add"),
    ]
    _replace(graph.node, [*steps, *graph.node])
    batch, channels, height, width = shape
    inputs = [helper.make_tensor_value_info(image, TensorProto.UINT8, [batch, height, width, channels])]
    _replace(graph.input, [inputs[0] if value.name == image else value for value in graph.input])
    return changed


class _Ending:
    """A copy of a model that nodes are added to the end of."""

    def __init__(self, model: onnx.ModelProto, boxes: str, scores: str) -> None:
        self.model = _copy(model)
        graph = self.model.graph
        shapes = {value.name: _shape(value) for value in graph.output}
        for name in (boxes, scores):
            if name not in shapes or len(shapes[name]) != 3 or any(side < 1 for side in shapes[name]):
                raise StageError(f"the graph has no output {name!r} of a fixed shape; export the model again")
        self.batch, self.anchors = shapes[boxes][:2]
        self.classes = shapes[scores][1]
        # The names are those of what comes out in the end.
        self.boxes, self.scores = (_rename(graph, name, f"{name}/raw") for name in (boxes, scores))
        self._made = 0

    def node(self, kind: str, inputs: list[str], out: str | None = None, **attributes: Any) -> str:
        """Add a node with one output, whose name is returned."""
        (made,) = self.nodes(kind, inputs, [out], **attributes)
        return made

    def nodes(self, kind: str, inputs: list[str], outs: Sequence[str | None], **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        self._made += 1
        names = [out or f"nms/{kind}.{self._made}.{i}" for i, out in enumerate(outs)]
        self.model.graph.node.append(helper.make_node(kind, inputs, names, f"nms/{kind}.{self._made}", **attributes))
        return names

    def constant(self, values: Any, dtype: npt.DTypeLike = np.int64) -> str:
        self._made += 1
        name = f"nms/constant.{self._made}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def one(self, tensor: str, image: int) -> str:
        """What belongs to one image of the batch, without that dimension."""
        return self.node("Gather", [tensor, self.constant(image)], axis=0)

    def padded(self, nms: NmsOptions) -> list[str]:
        """``NMS_OUTPUTS`` by ONNX's operators, image by image: the operator gives a batch's boxes in one list."""
        images = [self._image(nms, image) for image in range(self.batch)]
        joined = []
        for parts in zip(*images, strict=True):
            rows = [self.node("Unsqueeze", [part, self.constant([0])]) for part in parts]
            joined.append(rows[0] if len(rows) == 1 else self.node("Concat", rows, axis=0))
        return joined

    def _image(self, nms: NmsOptions, image: int) -> list[str]:
        most = nms.keep_top_k
        boxes, scores = self.boxes, self.scores
        if self.batch > 1:
            ends = [self.constant([image]), self.constant([image + 1]), self.constant([0])]
            boxes, scores = (self.node("Slice", [name, *ends]) for name in (boxes, scores))
        kept = self.node(
            "NonMaxSuppression",
            [
                boxes,
                scores,
                self.constant([min(most, self.anchors)]),  # more of a class could not all be among the best
                self.constant([nms.nms_threshold], np.float32),
                self.constant([nms.score_threshold], np.float32),
            ],
        )
        classes, anchors = (self.node("Gather", [kept, self.constant(column)], axis=1) for column in (1, 2))
        places = self.node("Add", [self.node("Mul", [classes, self.constant(self.anchors)]), anchors])
        own = self.node("Gather", [self.node("Reshape", [scores, self.constant([-1])]), places], axis=0)
        # As many empty places behind them, so that there are always enough for the best `most`.
        nothing, no_class = self.constant(np.full(most, _NOTHING), np.float32), self.constant(np.zeros(most))
        best, order = self.nodes(
            "TopK", [self.node("Concat", [own, nothing], axis=0), self.constant([most])], [None, None], axis=0
        )
        classes, anchors = (
            self.node("Gather", [self.node("Concat", [column, no_class], axis=0), order], axis=0)
            for column in (classes, anchors)
        )
        taken = self.node("Greater", [best, self.constant(_NOTHING / 2, np.float32)])
        corners = self.node("Gather", [self.node("Reshape", [boxes, self.constant([-1, 4])]), anchors], axis=0)
        rows = self.node("Unsqueeze", [taken, self.constant([1])])
        numbers = self.node("Cast", [taken], to=TensorProto.INT32)
        labels = self.node("Where", [taken, classes, self.constant(-1)])
        return [
            self.node("ReduceSum", [numbers, self.constant([0])], keepdims=1),
            self.node("Where", [rows, corners, self.constant(0, np.float32)]),
            self.node("Relu", [best]),
            self.node("Cast", [labels], to=TensorProto.INT32),
        ]

    def plugin(self, nms: NmsOptions) -> list[str]:
        """``NMS_OUTPUTS`` by TensorRT's plug-in."""
        anchors_first = self.node("Transpose", [self.scores], perm=[0, 2, 1])
        return self.nodes(
            PLUGIN,
            [self.boxes, anchors_first],
            [None] * len(NMS_OUTPUTS),
            domain=PLUGIN_DOMAIN,
            plugin_version="1",
            background_class=-1,
            max_output_boxes=nms.keep_top_k,
            score_threshold=float(nms.score_threshold),
            iou_threshold=float(nms.nms_threshold),
            score_activation=0,
            box_coding=0,
            class_agnostic=0,
        )

    def ending_in(self, outputs: Any) -> onnx.ModelProto:
        """The model with these outputs in place of boxes and scores."""
        _replace(self.model.graph.output, list(outputs))
        return self.model


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    return twin


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    return [int(d.dim_value) for d in value.type.tensor_type.shape.dim]


def _rename(graph: onnx.GraphProto, old: str, new: str) -> str:
    """Call a tensor otherwise, wherever it is made or read; the graph's own inputs and outputs are left alone."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new
    for value in graph.value_info:
        if value.name == old:
            value.name = new
    return new


def _replace(whole: Any, part: list[Any]) -> None:
    twins = []
    for message in part:
        twin = type(message)()
        twin.CopyFrom(message)
        twins.append(twin)
    del whole[:]
    whole.extend(twins)
