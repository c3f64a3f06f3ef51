"""From a config to a graph of stages: which ones, with which options, fed by what. Nothing is loaded or run here.

Face: `compress.compress_graph`, `compress.sensitivity_graph`, `user_inputs.user_model`.
"""
