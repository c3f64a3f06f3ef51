"""FP32 model and unlabeled images become a lighter FP32 model (stage ``lighten``): cheaper activations, fewer channels,
and a distillation from the original, before anything is quantized.

Face: `lighten.Lighten`.
"""
