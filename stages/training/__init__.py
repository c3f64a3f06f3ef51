"""The FP32 detector is trained on labelled images (stage ``finetune``).

Face: `finetune.Finetune`.
"""
