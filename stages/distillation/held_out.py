"""Images that a student is scored on while it is trained, and the others, which it is trained on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from stages.artifacts import LabeledSet
from stages.contract import StageContext
from stages.options.model import ModelOptions

_STREAM = 7  # of random numbers, apart from that of the batches


def chosen_images(labeled: LabeledSet, count: int, seed: int) -> dict[str, Any]:
    """The set's COCO content with ``count`` of its images, drawn by the seed."""
    coco: dict[str, Any] = json.loads(labeled.path("annotations.json").read_text(encoding="utf-8"))
    order = np.random.default_rng([seed, _STREAM]).permutation(len(coco["images"]))[:count]
    coco["images"] = [coco["images"][i] for i in sorted(int(i) for i in order)]
    ids = {image["id"] for image in coco["images"]}
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] in ids]
    return coco


class Scored(Protocol):
    """What the options of a stage say of scoring its student."""

    eval_every: int | None
    eval_images: int
    model: ModelOptions


def set_apart(paths: list[Path], options: Scored, context: StageContext) -> tuple[list[Path], list[Path]]:
    """(images to train on, images to score the student on); none of the latter where it is not scored, as is said."""
    if options.eval_every is None:
        return paths, []
    if options.model.random_weights:
        # A few steps at any rate throw such a network about; its accuracy means nothing, only its speed does.
        context.info("the weights are random: students are not scored, the last one is exported")
        return paths, []
    paths, apart = held_out(paths, options.eval_images, context.seed)
    if not apart:
        context.warn(f"{len(paths)} images are too few to hold one out: not scored, the last weights are exported")
    return paths, apart


def held_out(paths: Sequence[Path], count: int, seed: int) -> tuple[list[Path], list[Path]]:
    """(images to train on, images to score on): ``count`` of them, but at most a quarter, drawn by the seed."""
    order = np.random.default_rng([seed, _STREAM]).permutation(len(paths))
    apart = {int(i) for i in order[: min(count, len(paths) // 4)]}
    return [p for i, p in enumerate(paths) if i not in apart], [p for i, p in enumerate(paths) if i in apart]
