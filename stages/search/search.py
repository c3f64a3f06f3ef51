"""Stage ``search`` (``compression=auto``): FP32 model and images -> the INT8 model of the cheapest compression whose
drop holds ``compression.max_drop``, within ``compression.time_budget``.

The order is in `escalation.py`, how a step is made and judged in `workshop.py`, and what is told of it, ``search.json``
beside the model, in `content.py`. Labelled training images that it is judged on are held out of the compression, as far
as they are among its images; the validation set takes no part.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stages.artifacts import LIGHT_FILE, SEARCH_FILE, ExportedModel, ImageList, LabeledSet, QuantizedModel, hash_files
from stages.contract import StageContext
from stages.detection.unlabeled import listed_paths
from stages.distillation.held_out import chosen_images, held_out
from stages.errors import DataError
from stages.mixed_precision.workbench import ImageSet
from stages.options.check import require_valid
from stages.options.compression import AUTO, PTQ_ONLY, TEACHERS
from stages.options.search import SearchOptions, budget_seconds
from stages.outside import names
from stages.search.content import content
from stages.search.escalation import Escalation, Limits
from stages.search.ledger import Ledger
from stages.search.workshop import ModelWorkshop, without

ALGORITHMS = ("avg", "abs_max", "KL", "mse", "hist")
"""Of the ranges, in the order in which they are tried: `avg` lost least where all were measured (conf/compression)."""
LEAST_IMAGES = 2
LEARNED_ON = (
    "the lighter model has learned, without labels, on images that compressions are judged on too: drops look somewhat "
    "too good there; the validation set's, in the report, does not"
)


@dataclass(frozen=True)
class SearchInputs:
    """As of stage ``distill``; ``labeled``: training images that compressions are judged on, some of them."""

    model: ExportedModel
    images: ImageList
    labeled: LabeledSet | None = None
    calibration: ImageList | None = None


class Search:
    """See the module's docstring."""

    name: ClassVar[str] = "search"
    version: ClassVar[int] = 4  # 2: corrections. 3, 4: engines as `build` 7 and 8 make them
    packages: ClassVar[tuple[str, ...]] = (
        *("paddlepaddle", "paddlepaddle-gpu", "paddleslim", "paddle2onnx"),
        *("onnx", "numpy", "opencv-python-headless"),
    )
    later: ClassVar[tuple[str, ...]] = PTQ_ONLY
    unkeyed: ClassVar[tuple[str, ...]] = ("max_map_drop", *TEACHERS)  # of the stages behind it and in its place
    Options: ClassVar[type] = SearchOptions
    Inputs: ClassVar[type] = SearchInputs
    Output: ClassVar[type[QuantizedModel]] = QuantizedModel

    def __init__(self, options: SearchOptions) -> None:
        self.options = options

    def run(self, inputs: SearchInputs, context: StageContext) -> QuantizedModel:
        """Search; what comes out is the best there was, with a warning if it does not hold.

        Raises:
            ConfigError: settings that cannot be used, all of them named.
            DataError: too few images to judge on, or none left to compress with.
            UnavailableError: the backend cannot run here.
            StageError: no compression could be made.
        """
        o = self.options
        require_valid(o, "compression")
        pictures, images = self._pictures(inputs, context)
        if LIGHT_FILE in inputs.model.files:
            context.warn(LEARNED_ON)
        calibration = inputs.calibration
        if calibration is not None:
            calibration = without(calibration, pictures.paths, context.work / "calibration")
        budget = budget_seconds(o.time_budget)
        limits = Limits(o.max_drop, budget, ALGORITHMS, o.round_steps, o.steps, o.min_speedup)
        workshop = ModelWorkshop(inputs.model, images, calibration, pictures, o, context)
        outcome = Escalation(workshop, limits, Ledger.restored(context.work, context), context).run()
        told = content(outcome, limits, o.backend)
        workshop.result(outcome.best.step, context.out)
        (context.out / SEARCH_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        (context.info if told["met"] else context.warn)(told["outcome"])
        for sentence in told["undecided"]:
            context.warn(sentence)
        for name in ("seconds", "met"):
            context.metric(f"search.{name}", float(told[name]))
        return QuantizedModel(
            root=context.out,
            files=hash_files(context.out),
            method=AUTO,
            steps=outcome.best.step.steps,
            images=images.count,
        )

    def _pictures(self, inputs: SearchInputs, context: StageContext) -> tuple[ImageSet, ImageList]:
        """(what is judged on, the images without those)."""
        count, work = self.options.judge_images, context.work / "images"
        if inputs.labeled is None:
            context.warn(
                "there are no labelled training images (data.train_annotations): compressions are judged by the "
                f"distance of outputs, and compression.max_drop={self.options.max_drop:g} limits that"
            )
            _, apart = held_out(listed_paths(inputs.images), count, context.seed)
            _require(len(apart), "unlabeled images, of which a quarter is", "data.unlabeled_images")
            return ImageSet(apart), without(inputs.images, apart, work)
        coco = chosen_images(inputs.labeled, min(count, inputs.labeled.images // 2), context.seed)
        root = Path(inputs.labeled.images_root)
        paths = [names.image_path(root, image) for image in coco["images"]]
        _require(len(paths), "labelled training images, of which half are", "data.train_annotations")
        return ImageSet(paths, coco), without(inputs.images, paths, work)


def _require(count: int, what: str, key: str) -> None:
    if count < LEAST_IMAGES:
        raise DataError(
            f"compression=auto judges on {what} held out: {count} are too few for an interval; give more ({key}), or "
            "choose compression=ptq"
        )
