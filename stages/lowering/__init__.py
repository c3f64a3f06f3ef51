"""ONNX graph passes that make a quantized graph one that a runtime really runs in INT8.

Face: `passes.lower`, `passes.PASSES`, `graph.Graph`.
"""
