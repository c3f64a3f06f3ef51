"""The graph passes of OpenVINO's INT8 engines, in order; two recipes, by what the CPU convolves."""

from __future__ import annotations

from stages.backends.recipes import FLOAT_OUTPUTS

_REST = ("free_silu", "share_quantized", "quantize_concat", "keep_quantized", "unsigned_relu", "fold_image")
INT8_ACTIVATIONS = (*FLOAT_OUTPUTS, "mean_to_pool", *_REST)
UINT8_ACTIVATIONS = (*FLOAT_OUTPUTS, "mean_to_pool", "activations_to_uint8", *_REST)

BF16 = ("projection_to_sum",)
"""What else is done where floats are BF16: boxes are decoded in FP32."""


def recipe_for(cpu: str) -> tuple[str, ...]:
    """The recipe that suits a CPU (as `stages.backends.base.cpu_name` describes it).

    OpenVINO convolves int8 activations as they are where an x86 CPU has AMX. Without, it makes them uint8 itself and
    loses accuracy: 3.3 points of mAP on the demo. Made uint8 beforehand nothing is lost, but with AMX it is a fifth
    slower (docs/decisions/0003-lowering.md).
    """
    flags = cpu.split()
    return UINT8_ACTIVATIONS if "avx2" in flags and "amx_int8" not in flags else INT8_ACTIVATIONS
