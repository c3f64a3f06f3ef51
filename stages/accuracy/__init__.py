"""COCO mAP of an engine on the validation images (stage ``accuracy``), and INT8 against FP32 with intervals (stage
``compare``).

Face: `accuracy.Accuracy`, `compare.Compare`.
"""
