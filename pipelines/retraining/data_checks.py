"""Checks new training data against the last accepted data set: sizes, classes, labels, readability.

Cheap, and before anything is trained. That images and labels can be read at all is checked by the stages that collect
them (`stages/data/collect.py`), which come first in every run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.retraining.snapshot import Snapshot, image_changes
from stages.errors import DataError

_SHOWN = 3
_MOSTLY = 0.5
"""Where this share of the images had boxes before, new ones without any are no accident."""


def check(before: Snapshot | None, now: Snapshot, config: PipelineConfig) -> None:
    """Raise DataError with every reason to refuse ``now``; ``before`` is what was accepted last, if anything was."""
    reasons = [*_classes(before, now)]
    if before is not None:
        reasons += [*_shrunken(before, now, config.retrain.min_share), *_bare(before, now)]
        reasons += _unreadable(before, now, config)
    if reasons:
        raise DataError(
            f"the new data is refused: {'; '.join(reasons)}. Repair it, or accept it as it is with "
            "retrain.check_drop=false"
        )


def _classes(before: Snapshot | None, now: Snapshot) -> Iterator[str]:
    for split, labels in now["labels"].items():
        old = (before or {}).get("labels", {}).get(split)
        whose, known = f"were accepted last for {split}", (old or {}).get("classes")
        if not known and split == "train":
            whose, known = "the validation set has", now["labels"].get("val", {}).get("classes")
        if known and labels["classes"] != known:
            yield f"the labels of {split} have the classes {_some(labels['classes'])}, where {whose} {_some(known)}"


def _shrunken(before: Snapshot, now: Snapshot, least: float) -> Iterator[str]:
    for split, files in now["images"].items():
        count, old = len(files), len(before["images"].get(split, {}))
        if count < least * old:
            yield f"{split} has {count} images, it had {old} (retrain.min_share={least:g})"
    for split, labels in now["labels"].items():
        old_labels = before["labels"].get(split)
        if old_labels and labels["boxes"] < least * old_labels["boxes"]:
            yield (
                f"the labels of {split} have {labels['boxes']} boxes, they had {old_labels['boxes']} "
                f"(retrain.min_share={least:g})"
            )


def _bare(before: Snapshot, now: Snapshot) -> Iterator[str]:
    """More labelled images, and not one more with a box."""
    for split, labels in now["labels"].items():
        old = before["labels"].get(split)
        if not old or not old["images"] or old["boxed"] < _MOSTLY * old["images"]:
            continue
        more = labels["images"] - old["images"]
        if more > 0 and labels["boxed"] <= old["boxed"]:
            yield f"the labels of {split} name {more} more images, and none of them has a box"


def _unreadable(before: Snapshot, now: Snapshot, config: PipelineConfig) -> Iterator[str]:
    """New or changed unlabeled images that cannot be read: among many old ones they would not be noticed."""
    from stages.data.collect import check_image

    files, folder = now["images"].get("unlabeled", {}), config.data.unlabeled_images or config.data.train_images
    if folder is None or not files:
        return
    came, _, other = image_changes(before["images"].get("unlabeled", {}), files)
    new = [*came, *other]
    broken = [name for name in new if check_image(Path(folder) / name).error]
    if len(broken) > max(1.0, config.data.max_unreadable * len(new)):
        limit = f"data.max_unreadable={config.data.max_unreadable:g}"
        yield f"{len(broken)} of {len(new)} new images cannot be read ({limit}): {_some(broken)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "") or "none"
