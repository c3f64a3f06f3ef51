"""Quantization with PaddleSlim: student and teacher, ranges, losses, post-training quantization."""
