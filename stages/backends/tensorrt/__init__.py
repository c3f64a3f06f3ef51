"""TensorRT, and TensorRT for RTX.

Face: `backend.TensorRt`, `backend.TensorRtRtx`, `options.TensorRtOptions`.
"""
