"""Detectors of PaddleDetection's registry: made, trained, frozen, exported to ONNX."""
