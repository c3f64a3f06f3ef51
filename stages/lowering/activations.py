"""Move activations from int8 to uint8: on x86, ONNX Runtime fuses a convolution to QLinearConv for uint8 only.

With q' = q + 128 and zero point z' = z + 128 the real value (q - z) * scale is the same, bit for bit, and so is the
range at which values saturate.
"""

from __future__ import annotations

import numpy as np
import onnx

from stages.errors import StageError
from stages.lowering.graph import DEQUANTIZE, QUANTIZE, Graph, PassReport

SHIFT = 128


def activations_to_uint8(model: onnx.ModelProto) -> tuple[onnx.ModelProto, PassReport]:
    """Give each int8 QuantizeLinear of a computed tensor, and the DequantizeLinear behind it, a uint8 zero point.

    Constants (weights) stay int8. Raises StageError if something other than DequantizeLinear reads the int8 tensor.
    """
    graph, report = Graph(model), PassReport("activations_to_uint8")
    changed: set[str] = set()
    for node in graph.of_type(QUANTIZE):
        how = graph.scale_of(node)
        if how.zero_point.dtype != np.int8 or graph.constant(node.input[0]) is not None:
            continue
        quantized = node.output[0]
        readers = graph.readers(quantized)
        strangers = sorted({r.op_type for r in readers if r.op_type != DEQUANTIZE})
        if strangers or quantized in graph.outputs:
            what = ", ".join(strangers) or "the graph's output"
            raise StageError(
                f"the int8 tensor {quantized!r} is read by {what}; only DequantizeLinear can be moved to uint8: "
                "leave activations_to_uint8 out of the backend's lowering"
            )
        for reader in (node, *readers):
            zero = graph.scale_of(reader).zero_point
            if zero.dtype != np.int8:
                raise StageError(
                    f"{reader.op_type} {reader.name!r} reads an int8 tensor with a {zero.dtype} zero point"
                )
            moved = (zero.astype(np.int16) + SHIFT).astype(np.uint8)
            graph.set_input(reader, 2, graph.add_constant(moved, f"{quantized}.zero_point"))
        changed.add(quantized)
        report.count("activations_moved")
    graph.forget_type(changed)
    if not changed:
        report.remarks.append("no activation is int8")
    return graph.finish(), report
