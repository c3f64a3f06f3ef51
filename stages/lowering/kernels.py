"""Write the same integers differently, so that a runtime takes another kernel for them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx

from stages.lowering.graph import DEQUANTIZE, Graph, PassReport


def shift_weights(model: onnx.ModelProto, convolutions: Collection[str]) -> tuple[onnx.ModelProto, PassReport]:
    """Store the INT8 weights of the named convolutions as q - 1 with a zero point of -1, which is the same number.

    ONNX Runtime has two kernels for QLinearConv on x86: a direct one for weights with a zero point of zero, on VNNI
    instructions, and a matrix product for any other, which uses AMX tiles where the CPU has them. Which one is faster
    depends on the layer's shape and on the CPU; this is how a graph asks for the second.

    Left alone, and remarked on: weights that hold -128, or have a zero point already.
    """
    graph, report = Graph(model), PassReport("shift_weights")
    for conv in graph.of_type("Conv"):
        if conv.name not in convolutions:
            continue
        dequantizer = graph.producer(conv.input[1])
        if dequantizer is None or dequantizer.op_type != DEQUANTIZE:
            continue
        weight, how = graph.constant(dequantizer.input[0]), graph.scale_of(dequantizer)
        if weight is None or weight.dtype != np.int8:
            continue
        if how.zero_point.any() or weight.min(initial=0) == -128:
            report.remarks.append(f"{conv.name}: its weights leave no room to be shifted")
            continue
        names = (
            graph.add_constant(weight - np.int8(1), f"{dequantizer.input[0]}.shifted"),
            dequantizer.input[1],
            graph.add_constant(how.zero_point - np.int8(1), f"{dequantizer.input[0]}.shifted_zero_point"),
        )
        # Of its own for this convolution: the weights may be shared with one that is not to be shifted.
        back = graph.add_node(DEQUANTIZE, names, f"{conv.input[1]}.shifted", axis=how.axis)
        graph.set_input(conv, 1, back)
        report.count("weights_shifted")
    return graph.finish(), report
