"""ONNX Runtime, on CPUs and through its CUDA and TensorRT providers.

Face: `backend.OnnxRuntime`, `options.OnnxRuntimeOptions`.
"""
