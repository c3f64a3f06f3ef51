"""Stage ``distill``: FP32 model and unlabeled images -> INT8 model with quantize/dequantize operators."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from stages.artifacts import ExportedModel, ImageList, LabeledSet, QuantizedModel, hash_files
from stages.contract import StageContext
from stages.distillation.loop import Loop, Progress
from stages.errors import ConfigError, DataError
from stages.options.check import require_valid
from stages.options.compression import (
    AUTO,
    PTQ,
    PTQ_ONLY,
    QAT_DISTILL,
    SEARCHED,
    TEACHERS,
    CompressionSettings,
    DistillOptions,
)
from stages.outside import names

if TYPE_CHECKING:
    from stages.detection.unlabeled import UnlabeledImages
    from stages.paddle.compression.qat import EvaluationSet


TEACHABLE = ("detection", "features")
"""Losses that compare a student with another model than its own."""

TARGET_NEEDS = (
    "is compared with mAP on training labels while a student is trained; choose compression.eval_by=map and a number "
    "of steps for compression.eval_every, or set it to null"
)


@dataclass(frozen=True)
class DistillInputs:
    """The exported FP32 model, the images it is compressed with, and labelled ones to score on (``eval_by: map``).

    ``calibration``: images that ranges are observed on; ``None``: some of ``images``. ``teacher``: a larger exported
    model to learn from; ``None``: ``model`` itself.
    """

    model: ExportedModel
    images: ImageList
    labeled: LabeledSet | None = None
    calibration: ImageList | None = None
    teacher: ExportedModel | None = None


class Distill:
    """``qat_distill`` trains the INT8 student on its FP32 teacher's outputs; ``ptq`` only measures ranges."""

    name = "distill"
    version = 6  # 4: random weights are not scored; 5: convolutions in oneDNN; 6: the rate's end
    packages: ClassVar[tuple[str, ...]] = ("paddlepaddle", "paddlepaddle-gpu", "paddleslim")
    unkeyed: ClassVar[tuple[str, ...]] = (
        *("max_map_drop", "min_speedup"),  # those of the stage behind it
        *SEARCHED,  # those of the stage in its place
        *TEACHERS,  # the input says which
    )
    later: ClassVar[tuple[str, ...]] = PTQ_ONLY
    Options = DistillOptions
    Inputs = DistillInputs
    Output = QuantizedModel

    def __init__(self, options: DistillOptions) -> None:
        self.options = options

    def run(self, inputs: DistillInputs, context: StageContext) -> QuantizedModel:
        """Compress; the FP32 model is only read.

        Raises:
            ConfigError: settings that cannot be used, all of them named.
            DataError: no images.
            StageError: the student diverges again and again (with step and rate), or nothing could be quantized.
        """
        o = self.options
        require_valid(o, "compression")
        work = {QAT_DISTILL: self._distill, PTQ: self._quantize}.get(o.method)
        if work is None:
            raise ConfigError([f"compression.method: {o.method} quantizes nothing; choose {QAT_DISTILL} or {PTQ}"])
        if wrong := [f"compression.{name}: {text}" for name, text in not_for(o)]:
            raise ConfigError(wrong)
        if o.target_map is not None and not scores_by_labels(o):
            raise ConfigError([f"compression.target_map: {TARGET_NEEDS}"])
        from stages.detection.unlabeled import listed_paths

        paths = listed_paths(inputs.images)
        if not paths:
            raise DataError("there are no unlabeled images to compress with; check data.unlabeled_images.")
        done = work(inputs, paths, context)
        done.write(context.out)
        return QuantizedModel(
            root=context.out,
            files=hash_files(context.out),
            method=o.method,
            steps=done.step,
            images=len(paths),
        )

    def _quantize(self, inputs: DistillInputs, paths: list[Path], context: StageContext) -> Progress:
        from stages.paddle.compression.ptq import quantize
        from stages.paddle.runtime.memory import out_of_memory_explained, report_memory

        images = self._calibration(inputs, context) or self._images(inputs, paths, context)
        with out_of_memory_explained("compression.batch", 1):
            quantize(inputs.model, images, self.options, context)
        report_memory(context)
        return Progress()

    def _distill(self, inputs: DistillInputs, paths: list[Path], context: StageContext) -> Progress:
        from stages.paddle.compression.qat import finish, prepare
        from stages.paddle.runtime.memory import out_of_memory_explained, report_memory

        paths, scored_on = self._set_apart(inputs, paths, context)
        images = self._images(inputs, paths, context)
        calibration = self._calibration(inputs, context)
        with (
            out_of_memory_explained("compression.batch", self.options.batch),
            prepare(inputs.model, images, scored_on, self.options, context, calibration, inputs.teacher) as training,
        ):
            done = Loop(training.trainee, training.batch, training.evaluator, self.options, context).run()
            finish(training)
        report_memory(context)
        return done

    def _set_apart(
        self, inputs: DistillInputs, paths: list[Path], context: StageContext
    ) -> tuple[list[Path], EvaluationSet | None]:
        """(images to train on, what to score the student on)."""
        from stages.distillation.held_out import set_apart
        from stages.paddle.compression.qat import EvaluationSet

        if scores_by_labels(self.options):
            return self._apart_from_labeled(inputs, paths, context)
        paths, apart = set_apart(paths, self.options, context)
        return paths, EvaluationSet(images=self._images(inputs, apart, context)) if apart else None

    def _apart_from_labeled(
        self, inputs: DistillInputs, paths: list[Path], context: StageContext
    ) -> tuple[list[Path], EvaluationSet]:
        from stages.distillation.held_out import chosen_images
        from stages.paddle.compression.qat import EvaluationSet

        if inputs.labeled is None:
            raise ConfigError(["compression.eval_by=map needs labelled training images (data.train_annotations)"])
        root = Path(inputs.labeled.images_root)
        coco = chosen_images(inputs.labeled, self.options.eval_images, context.seed)
        scored = {names.image_path(root, image).resolve() for image in coco["images"]}
        paths = [path for path in paths if path.resolve() not in scored]
        if not paths:
            raise DataError("every unlabeled image is one that is scored on; lower compression.eval_images.")
        return paths, EvaluationSet(coco=coco, root=root)

    def _calibration(self, inputs: DistillInputs, context: StageContext) -> UnlabeledImages | None:
        from stages.detection.unlabeled import listed_paths

        if inputs.calibration is None:
            return None
        return self._images(inputs, listed_paths(inputs.calibration), context)

    def _images(self, inputs: DistillInputs, paths: list[Path], context: StageContext) -> UnlabeledImages:
        from stages.detection.unlabeled import images_for

        return images_for(inputs.model, paths, batch=self.options.batch, seed=context.seed)


def not_for(o: CompressionSettings) -> Iterator[tuple[str, str]]:
    """Options that the method has no use for, each with what to do."""
    for name in PTQ_ONLY if o.method != PTQ else ():
        if getattr(o, name):
            instead = (
                "leave it out: compression=auto tries it by itself" if o.method == AUTO else "choose compression=ptq"
            )
            yield name, f"is part of post-training quantization; {instead}"
    if o.teacher is None:
        for name in TEACHERS[1:]:
            if getattr(o, name) is not None:
                yield name, "says something of a larger teacher; name its model (compression.teacher=ppyoloe_l)"
    elif o.method != QAT_DISTILL:
        yield "teacher", "teaches a student that is trained; choose compression=qat_distill"
    elif o.loss not in TEACHABLE:
        yield "teacher", f"is compared by what the head says; choose compression.loss={' or '.join(TEACHABLE)}"
    elif o.teacher_weights is None:
        yield "teacher_weights", f"is not given; name the .pdparams file of {o.teacher}"


def scores_by_labels(o: CompressionSettings) -> bool:
    """Whether the student is scored on labelled training images while it is trained."""
    return o.method == QAT_DISTILL and o.eval_every is not None and o.eval_by == "map"
