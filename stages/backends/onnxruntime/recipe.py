"""The graph passes of ONNX Runtime's INT8 engines, in order: on the CPU, and in CUDA."""

from __future__ import annotations

from stages.backends.recipes import FLOAT_OUTPUTS, PORTABLE

RECIPE = (*PORTABLE, "fine_outputs")
"""Its integer convolutions on a CPU put out eight bits and nothing else."""

CUDA = (*FLOAT_OUTPUTS, "free_silu", "fold_bias", "share_quantized")
"""ONNX Runtime's CUDA provider has no kernels for quantized convolutions, concatenations or sigmoids, and would leave
them to the CPU without a word: quantizers stay as operators of their own, as few as keep the numbers."""
