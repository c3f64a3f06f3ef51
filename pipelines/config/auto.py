"""Values that are `auto` or follow from others: which labelled sets there are, what blocks are judged on."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.schema import PipelineConfig
from stages.options.data import DataOptions

TRAIN, VAL, NONE = "train", "val", "none"
CONVERTED = ("yolo", "voc", "roboflow")
"""Kinds of data sets whose labels are converted to COCO."""


def converted(data: DataOptions) -> bool:
    """Whether the stage ``convert`` makes the label files: from another layout, or by dividing one labelled set."""
    return data.kind in CONVERTED or data.val_fraction is not None


def has_set(config: PipelineConfig, split: str) -> bool:
    """Whether the labelled set ``split`` is there (of the user's training images: whether the files are)."""
    data = config.data
    if data.kind == "shapes":
        return True
    annotations, images = getattr(data, f"{split}_annotations"), getattr(data, f"{split}_images")
    if annotations is None or images is None:
        return False
    return split == VAL or (Path(annotations).is_file() and Path(images).is_dir())


def block_labels(config: PipelineConfig) -> str:
    """``sensitivity.labels`` with ``auto`` resolved: the set that the final score does not use, if there is one."""
    if config.sensitivity.labels != "auto":
        return config.sensitivity.labels
    return next((split for split in (TRAIN, VAL) if has_set(config, split)), NONE)


def block_backend(config: PipelineConfig) -> str:
    """The backend whose engines are measured."""
    if config.sensitivity.backend is not None:
        return config.sensitivity.backend
    return "onnxruntime" if "onnxruntime" in config.backend or not config.backend else next(iter(config.backend))


def has_labels(config: PipelineConfig) -> bool:
    """Whether there is a labelled validation set; without one the run measures latency only."""
    return config.data.kind == "shapes" or config.data.val_annotations is not None
