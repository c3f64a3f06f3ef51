"""Scoring and comparing (`conf/accuracy`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.rules import COUNT, POSITIVE, SHARE, at_least_or_zero, option, part


@dataclass
class NmsOptions:
    """Multi-class NMS, one setting for every backend; the defaults are PP-YOLOE's evaluation settings."""

    score_threshold: float = option(0.01, SHARE, "boxes with a lower score are dropped before NMS")
    nms_threshold: float = option(0.7, SHARE, "IoU with a better box from which on a box is dropped")
    nms_top_k: int = option(1000, POSITIVE, "boxes of a class that enter NMS, best scores first")
    keep_top_k: int = option(300, POSITIVE, "boxes of an image that are kept, over all classes")


@dataclass
class AccuracyOptions:
    """Scoring (stage ``accuracy``)."""

    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
    max_images: int | None = option(
        None, POSITIVE, "score the first N validation images only, for a quick look; null: all"
    )
    check_detections: int = option(
        100_000, COUNT, "up to this many detections, pycocotools scores them too and a difference is an error; 0: never"
    )


@dataclass
class CompareOptions:
    """INT8 against FP32 on the same images (stage ``compare``)."""

    draws: int = option(
        1000,
        at_least_or_zero(100, "for no interval"),
        "resamplings of the images for the interval of a difference in mAP (INT8 - FP32); 0: no interval",
    )
    worst: int = option(6, COUNT, "how many of the images that lose most against FP32 are shown, with both detections")
    typical: int = option(3, COUNT, "how many images that lose as much as half of all images do are shown likewise")


@dataclass
class AccuracySettings(CompareOptions, AccuracyOptions):
    """COCO mAP of each engine, and INT8 compared with FP32."""
