"""Paddle Inference with TensorRT subgraphs.

Face: `backend.PaddleTensorRt`, `options.PaddleTensorRtOptions`.
"""
