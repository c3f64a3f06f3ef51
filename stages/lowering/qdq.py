"""Putting a QuantizeLinear and its DequantizeLinear in, and taking them out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Array, Graph, PassReport


def insert_pair(
    graph: Graph,
    tensor: str,
    scale: Array | np.generic,
    zero: Array | np.generic,
    readers: Sequence[onnx.NodeProto] | None = None,
) -> str:
    """Quantize ``tensor`` and dequantize it again for ``readers`` (all by default).

    Returns the name of the dequantized tensor.
    """
    chosen = graph.readers(tensor) if readers is None else readers
    names = [graph.add_constant(np.asarray(v), f"{tensor}.{n}") for v, n in ((scale, "scale"), (zero, "zero_point"))]
    quantized = graph.add_node(QUANTIZE, [tensor, *names], f"{tensor}.quantized")
    back = graph.add_node(DEQUANTIZE, [quantized, *names], f"{tensor}.dequantized")
    for reader in chosen:
        for i, name in enumerate(reader.input):
            if name == tensor:
                graph.set_input(reader, i, back)
    return back


def remove_pair(graph: Graph, quantizer: onnx.NodeProto, report: PassReport) -> bool:
    """Take a QuantizeLinear and its DequantizeLinear out, unless somebody else reads the integers."""
    readers = graph.readers(quantizer.output[0])
    if any(r.op_type != DEQUANTIZE or r.output[0] in graph.outputs for r in readers):
        report.remarks.append(f"{quantizer.input[0]}: its integers are read by others, so its Q/DQ pair was kept")
        return False
    for dequantizer in readers:
        graph.redirect(dequantizer.output[0], quantizer.input[0])
        graph.remove(dequantizer)
    graph.remove(quantizer)
    report.count("pairs_removed")
    return True
