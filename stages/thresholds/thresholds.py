"""Stage ``thresholds``: where an application's score thresholds, tuned on FP32, belong on the other engines' scores.

Quantization shifts scores, so a threshold that was tuned on FP32 keeps other detections on INT8's. Per class, this
finds the threshold at which the engine has FP32's precision, with a paired interval over the images; `moving.py` says
how, and `choosing.py` what moves. It uses labelled training images, or without them unlabelled ones with FP32's own
detections in the place of labels, and never the validation set. How that was scored shows what came of it.

``thresholds.json``: see `stages/report/schema_thresholds.py`. An engine that is only opened in another way has the
thresholds of the engine that it is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from stages.artifacts import AccuracyResult, Engine, ImageList, LabeledSet, Thresholds, hash_files
from stages.contract import StageContext
from stages.detection.bootstrap import draw_weights
from stages.detection.differences import CONFIDENCE
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import DataError, StageError
from stages.numerics.variants import FP32, title_of
from stages.options.check import require_valid
from stages.options.thresholds import ThresholdOptions, scores_by_class
from stages.report.schema_thresholds import EngineThresholds, ThresholdsContent
from stages.thresholds.choosing import choose
from stages.thresholds.images import LABELS, Pictures, detect, labeled_pictures, scored, seen, unlabeled_pictures
from stages.thresholds.moving import COUNT, PRECISION

SCHEMA_VERSION = 1
THRESHOLDS_FILE = "thresholds.json"


@dataclass(frozen=True)
class ThresholdInputs:
    """``engines`` of one backend, FP32 among them; ``labeled`` training images, or else ``images`` without labels.

    ``scored``: what these engines found on ``validation``, as far as there is such a set.
    """

    engines: list[Engine]
    labeled: LabeledSet | None = None
    images: ImageList | None = None
    scored: list[AccuracyResult] = field(default_factory=list)
    validation: LabeledSet | None = None


class ThresholdsStage:
    """See the module's docstring."""

    name: ClassVar[str] = "thresholds"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless", "pycocotools")
    Options: ClassVar[type] = ThresholdOptions
    Inputs: ClassVar[type] = ThresholdInputs
    Output: ClassVar[type[Thresholds]] = Thresholds

    def __init__(self, options: ThresholdOptions) -> None:
        self.options = options

    def run(self, inputs: ThresholdInputs, context: StageContext) -> Thresholds:
        """Metrics: ``thresholds.<backend>.<precision>.moved`` (how many), ``.recall.base``, ``.unmoved``, ``.moved``.

        Raises:
            ConfigError: settings that cannot be used.
            DataError: a class that the model does not have, or no image.
            StageError: there is no FP32 engine, or one gives what is no number.
        """
        o = self.options
        require_valid(o, "thresholds")
        engines = sorted(inputs.engines, key=lambda engine: engine.precision != str(FP32))
        if not engines or engines[0].precision != str(FP32):
            raise StageError(
                "thresholds: there is no FP32 engine whose thresholds could move; see why its build failed"
            )
        labels = list(Sidecar.read(engines[0].path(FILE_NAME)).labels)
        named = of_classes(labels, o)
        pictures = self._pictures(inputs, labels, context)
        same = PRECISION if pictures.by == LABELS else COUNT
        sides = seen(detect(engines, pictures, o.nms, context), pictures, [at for _, at in named])
        weights = draw_weights(len(pictures.listed), o.draws, context.seed)
        results = {result.precision: result for result in inputs.scored}
        found = []
        for engine, side in zip(engines[1:], sides, strict=True):
            validation = None
            if inputs.validation is not None and {str(FP32), engine.precision} <= set(results):
                validation = scored(results[str(FP32)], results[engine.precision], labels, inputs.validation)
            one = choose(engine.precision, side, named, weights, same, validation)
            self._tell(one, engine, context)
            found.append(one)
        content: ThresholdsContent = {
            "schema_version": SCHEMA_VERSION,
            "backend": engines[0].backend,
            "base": str(FP32),
            "by": pictures.by,
            "images": len(pictures.listed),
            "draws": o.draws,
            "confidence": CONFIDENCE,
            "engines": found,
        }
        (context.out / THRESHOLDS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        return Thresholds(root=context.out, files=hash_files(context.out), backend=engines[0].backend)

    def _pictures(self, inputs: ThresholdInputs, labels: list[str], context: StageContext) -> Pictures:
        if inputs.labeled is not None:
            return labeled_pictures(inputs.labeled, labels, self.options.images, context)
        if inputs.images is None:
            raise StageError("thresholds: neither labelled nor unlabelled images were given")
        context.warn(
            "there are no labelled training images (data.train_annotations), so thresholds move to where an engine "
            "finds as many boxes as FP32 on unlabelled images; whether these boxes are right, that does not say"
        )
        return unlabeled_pictures(inputs.images, labels, self.options.images)

    def _tell(self, one: EngineThresholds, engine: Engine, context: StageContext) -> None:
        name = f"thresholds.{engine.backend}.{engine.precision}"
        context.metric(f"{name}.moved", sum(of["moved"] for of in one["classes"]))
        for side in ("base", "unmoved", "moved"):
            if (recall := one["at"][side]["recall"]) is not None:  # type: ignore[literal-required]
                context.metric(f"{name}.recall.{side}", recall)
        for of in one["classes"]:
            if of["needed"] is not None and of["needed"] > of["boxes"] and of["why"].startswith("only"):
                context.warn(
                    f"{engine.backend} {title_of(engine.precision)}: the threshold of {of['name']} stays: {of['why']}"
                )


def of_classes(labels: Sequence[str], options: ThresholdOptions) -> list[tuple[str, float]]:
    """Each class in the model's order with FP32's threshold. Raises DataError for a class that there is not."""
    named = scores_by_class(options.classes)
    if unknown := sorted(set(named) - set(labels)):
        raise DataError(f"thresholds.classes: the model has no class {unknown[0]}; it has {', '.join(labels)}")
    return [(label, named.get(label, options.score)) for label in labels]
