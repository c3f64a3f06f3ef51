"""Detectors without a runtime: preprocessing, NMS, COCO's labels and results, matching, mAP, bootstrap. One copy for
every backend.

Face: `preprocess.Preprocessor`, `nms.multiclass_nms`, `inference.ImageRunner`, `sidecar.Sidecar`, `results.gather`.
"""
