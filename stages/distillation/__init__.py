"""FP32 model and unlabeled images become an INT8 model (stage ``distill``): the training loop, its scores and
checkpoints.

Face: `distill.Distill`, `loop.Loop`.
"""
