"""Paddle Inference, with oneDNN on a CPU.

Face: `backend.PaddleInference`, `options.PaddleInferenceOptions`.
"""
