"""FP16 written into the graph: strongly typed runtimes (TensorRT 11, TensorRT for RTX) compute in what it says.

Boxes are decoded in FP32: behind the Softmax over a box's edges stand pixels, and FP16 has steps of half a pixel from
512 on. A mean or sum over an image is made in FP32 too: ONNX Runtime's CUDA kernel adds in FP16, where the 25,600
numbers of a feature map pass 65504 (on an H100, numbers of 40 at most made every score infinite). And a layer stays in
FP32 if one of its constants does not fit: beyond 65504 it would be infinite, and a step of a quantizer below 2^-14
loses digits, since FP16 has no smaller normal number. So does a layer that takes or
makes numbers beyond half of what FP16 holds, on real images.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import TensorProto, version_converter

from stages.errors import StageError
from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Array, Graph, PassReport

OPSET = 19
"""The first with quantizers whose real side is FP16."""
LARGEST, SMALLEST_STEP = 65504.0, 2.0**-14
HEADROOM = 0.5
"""Part of FP16's range that the numbers of a few real images may fill: others reach further."""
_SUMS = ("ReduceMean", "ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2", "GlobalAveragePool")
_FP32_INPUTS = {"Resize": (1, 2)}
"""Operator -> inputs that are FP32 whatever it computes in (regions and scales)."""


def to_half(
    model: onnx.ModelProto, magnitudes: Mapping[str, float] | None = None
) -> tuple[onnx.ModelProto, PassReport]:
    """The same graph with FP16 for what is float; inputs and outputs stay FP32.

    Counts ``half`` and ``kept`` (nodes). A remark names each layer that is kept because a constant or its numbers do
    not fit.

    Args:
        magnitudes: tensor -> the largest number it holds on real images, as far as they are large (see
            `stages.lowering.magnitudes`).

    Raises:
        StageError: ONNX cannot bring the graph to opset 19.
    """
    report = PassReport("to_half")
    graph = Graph(_converted(model))
    types = _types(graph.model)
    floats = {name for name, kind in types.items() if kind == TensorProto.FLOAT}
    kept = _decoding(graph) | _unfit(graph, report) | {id(node) for node in graph.of_type(*_SUMS)}
    kept |= _overflowing(graph, floats, magnitudes or {}, report)
    made: dict[tuple[str, int], str] = {}
    produced: dict[str, bool] = {}  # tensor -> whether it is FP16 now
    for node in graph.of_type(*{n.op_type for n in graph.nodes}):
        if node.op_type != "Constant" and (floats & set(node.output) or _quantizes(node)):
            half = id(node) not in kept
            report.count("half" if half else "kept")
            produced |= dict.fromkeys(floats & set(node.output), half)
    for node in list(graph.of_type(*{n.op_type for n in graph.nodes})):
        if node.op_type == "Constant" or not (floats & {*node.input, *node.output}):
            continue
        half = id(node) not in kept
        for i, name in enumerate(node.input):
            if name in floats and i not in _FP32_INPUTS.get(node.op_type, ()):
                _feed(graph, node, i, half=half, is_half=produced.get(name, False), made=made)
    _restore_outputs(graph, produced)
    graph.forget_type({value.name for value in graph.model.graph.value_info})
    return graph.finish(), report


def _converted(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset >= OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (RuntimeError, onnx.onnx_cpp2py_export.version_converter.ConvertError) as error:
        raise StageError(f"the graph cannot be brought to opset {OPSET} ({str(error).splitlines()[0]})") from error


def _types(model: onnx.ModelProto) -> dict[str, int]:
    """Element type of each tensor, constants among them."""
    graph = onnx.shape_inference.infer_shapes(model).graph
    found = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.input, *graph.output)}
    return found | {t.name: t.data_type for t in graph.initializer}


def _quantizes(node: onnx.NodeProto) -> bool:
    return bool(node.op_type == QUANTIZE)


def _decoding(graph: Graph) -> set[int]:
    """Each Softmax and all that comes of it."""
    waiting = list(graph.of_type("Softmax"))
    found: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found.add(id(node))
            waiting += [reader for name in node.output for reader in graph.readers(name)]
    return found


def _unfit(graph: Graph, report: PassReport) -> set[int]:
    """Nodes of which a constant has no place in FP16, and for a quantizer what is at its other end."""
    found: set[int] = set()
    for node in graph.of_type(*{n.op_type for n in graph.nodes}):
        for i, name in enumerate(node.input):
            value = None if node.op_type == "Constant" else graph.constant(name)
            if value is None or value.dtype != np.float32 or not value.size or i in _FP32_INPUTS.get(node.op_type, ()):
                continue
            if (why := _misfit(node, i, value)) is not None:
                report.remarks.append(f"{node.name or node.output[0]}: stays in FP32, {why}")
                found.add(id(node))
    return found


def _overflowing(graph: Graph, floats: set[str], magnitudes: Mapping[str, float], report: PassReport) -> set[int]:
    """Nodes that take or make numbers for which FP16 has no room."""
    found: set[int] = set()
    for node in graph.of_type(*{n.op_type for n in graph.nodes}):
        held = {name: magnitudes.get(name, 0.0) for name in (*node.input, *node.output) if name in floats}
        if held and max(held.values()) > LARGEST * HEADROOM:
            worst = max(held, key=lambda name: held[name])
            report.remarks.append(
                f"{node.name or node.output[0]}: stays in FP32, {worst} reaches {held[worst]:.3g} on real images"
            )
            found.add(id(node))
    return found


def _misfit(node: onnx.NodeProto, place: int, value: Array) -> str | None:
    if not np.isfinite(value).all() or float(np.abs(value).max()) > LARGEST:
        return f"{node.input[place]} holds {float(np.abs(value).max()):.3g}"
    if node.op_type in (QUANTIZE, DEQUANTIZE) and place == 1 and float(value.min()) < SMALLEST_STEP:
        return f"its smallest step is {float(value.min()):.3g}"
    return None


def _feed(
    graph: Graph, node: onnx.NodeProto, place: int, *, half: bool, is_half: bool, made: dict[tuple[str, int], str]
) -> None:
    """Give ``node`` its input in the type it computes in: a constant anew, anything else through a Cast."""
    name = node.input[place]
    value = graph.constant(name)
    if half == (is_half and value is None):
        return
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    if (name, kind) not in made:
        if value is not None:
            made[name, kind] = graph.add_constant(value.astype(np.float16), f"{name}_half")
        else:
            made[name, kind] = graph.add_node("Cast", [name], f"{name}_{'half' if half else 'float'}", to=kind)
    graph.set_input(node, place, made[name, kind])


def _restore_outputs(graph: Graph, produced: dict[str, bool]) -> None:
    """The graph's outputs in FP32, under their names."""
    for name in [name for name in graph.outputs if produced.get(name)]:
        node = graph.producer(name)
        assert node is not None, "an output that is FP16 was made by a node"
        inner = graph.fresh(f"{name}_half")
        graph.redirect(name, inner)
        node.output[list(node.output).index(name)] = inner
        graph.nodes.append(onnx.helper.make_node("Cast", [inner], [name], name=f"{name}/cast", to=TensorProto.FLOAT))
