"""Scoring and comparing (`conf/accuracy`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class NmsOptions:
    """Multi-class NMS, one setting for every backend; the defaults are PP-YOLOE's evaluation settings."""

    score_threshold: float = 0.01
    nms_threshold: float = 0.7
    nms_top_k: int = 1000
    keep_top_k: int = 300


@dataclass
class AccuracyOptions:
    """Scoring (stage ``accuracy``)."""

    nms: NmsOptions = field(default_factory=NmsOptions)
    max_images: int | None = None
    """Score the first N validation images only (a quick look); ``None``: all."""
    check_detections: int = 100_000
    """Up to this many detections pycocotools scores them too, and a difference is an error; 0: never."""


@dataclass
class CompareOptions:
    """INT8 against FP32 on the same images (stage ``compare``)."""

    draws: int = 1000
    """Resamplings of the images for the interval of a difference; 0: no interval."""
    worst: int = 6
    """How many of the images that lose most are shown."""


@dataclass
class AccuracySettings(CompareOptions, AccuracyOptions):
    """Scoring and comparing: the part the user sets (``conf/accuracy``)."""
