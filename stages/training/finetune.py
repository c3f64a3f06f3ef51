"""Stage ``finetune``: trains an FP32 PP-YOLOE on labelled images, from a checkpoint or from nothing.

The model and its loss are PaddleDetection's; images are read, augmented and batched by ``stages.detection.loader``.
A checkpoint is written every N steps and on SIGTERM or SIGINT; the next run of the same work continues from it.
"""

from __future__ import annotations

import json
import math
import os
import pickle
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stages.artifacts import Checkpoint, LabeledSet, hash_files
from stages.contract import StageContext
from stages.errors import ConfigError
from stages.options.check import require_valid
from stages.options.finetune import FinetuneOptions
from stages.options.model import STRIDE
from stages.outside.files import put
from stages.training.kernels import arithmetic, changed
from stages.training.stopping import stop_requests

if TYPE_CHECKING:
    from stages.detection.loader import TrainingImages
    from stages.paddle.models.training import Trainer

CHECKPOINT = "training.ckpt"
MIN_CELLS = 9  # the static label assignment looks for the 9 nearest cells on each level


class Finetune:
    """Trains for ``options.steps`` steps and gives the averaged weights."""

    name: ClassVar[str] = "finetune"
    version: ClassVar[int] = 3
    packages: ClassVar[tuple[str, ...]] = (
        "paddlepaddle", "paddlepaddle-gpu", "paddledet", "numpy", "opencv-python-headless",
    )  # fmt: skip
    later: ClassVar[tuple[str, ...]] = ("kernels",)
    Options: ClassVar[type] = FinetuneOptions
    Output: ClassVar[type[Checkpoint]] = Checkpoint

    @dataclass(frozen=True)
    class Inputs:
        """``train``: images with boxes. ``start``: weights to begin with; ``None`` begins with random ones."""

        train: LabeledSet
        start: Checkpoint | None = None

    def __init__(self, options: FinetuneOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> Checkpoint:
        """Train into ``context.out/model.pdparams``; ``history.json`` holds the curve."""
        require_valid(self.options, "finetune")
        if problems := check_input_size(self.options.model.input_size):
            raise ConfigError(problems)
        import stages.paddle  # noqa: F401, I001  (the door, before anything else that is native)
        import cv2

        from stages.paddle.models.training import Trainer, fresh_start
        from stages.paddle.runtime.memory import out_of_memory_explained, report_memory
        from stages.data.weights import write_pdparams

        cv2.setNumThreads(1)  # images are made beside the training, not against it
        source, labels = self._images(inputs.train, context)
        with fresh_start(context.seed):
            layer, fresh = self._layer(inputs.start, labels, context)
            trainer = Trainer(
                layer,
                self.options,
                self._static_steps(layer, fresh, len(source), context),
                arithmetic(layer, self.options, context),
            )
            curve = _restore(trainer, context)
            with out_of_memory_explained("finetune.batch", self.options.batch):
                _train(trainer, source, self.options, curve, context)
            report_memory(context)
        write_pdparams(context.out / "model.pdparams", trainer.averaged())
        (context.out / "history.json").write_text(json.dumps(curve.points), encoding="utf-8")
        return Checkpoint(root=context.out, files=hash_files(context.out), weights="model.pdparams")

    def _images(self, train: LabeledSet, context: StageContext) -> tuple[TrainingImages, list[str]]:
        from stages.detection.augment import Augmentation
        from stages.detection.classes import listed, match_classes, require_known
        from stages.detection.coco import read_coco
        from stages.detection.loader import TrainingImages
        from stages.detection.preprocess import Preprocessor
        from stages.detection.sidecar import Sidecar

        o = self.options
        coco = read_coco(train.path("annotations.json"))
        labels = o.model.labels or coco.labels
        matched = match_classes(labels, coco.categories)
        if (remark := require_known(coco.as_dict(), matched, "the training labels")) is not None:
            context.warn(remark)
        boxed = {a["category_id"] for a in coco.annotations if not a["iscrowd"]}
        if unseen := [n for n, c in zip(labels, matched.categories, strict=True) if c is None or c not in boxed]:
            context.warn(f"the training labels have no box of {listed(unseen)}; the model cannot learn these classes")
        source = TrainingImages(
            Path(train.images_root),
            coco,
            Preprocessor(Sidecar.from_model(o.model)),
            Augmentation(o.flip, o.color_jitter, o.crop),
            batch=o.batch,
            seed=context.seed,
            labels=labels,
        )
        return source, labels

    def _layer(self, start: Checkpoint | None, labels: list[str], context: StageContext) -> tuple[Any, bool]:
        """The layer to train, and whether its head knows nothing yet."""
        from stages.detection.published import remark_on_objects365
        from stages.paddle.models.models import build_detector, load_weights

        layer = build_detector(self.options.model, len(labels))
        if start is None:
            return layer, True
        report = load_weights(layer, start.path(start.weights), allow_class_mismatch=True)
        if report.reinitialized:
            context.warn(
                f"the checkpoint knows {report.classes} classes, another number of classes than the {len(labels)} of "
                f"the data: {len(report.reinitialized)} class parameters start from random values."
            )
        if remark := remark_on_objects365(report.classes, self.options.model.mean, self.options.model.std):
            context.warn(remark)
        return layer, bool(report.reinitialized)

    def _static_steps(self, layer: Any, fresh: bool, images: int, context: StageContext) -> int:
        """Number of steps with static label assignment."""
        o = self.options
        if o.static_steps is not None:
            return o.static_steps if fresh else 0
        epochs = int(layer.yolo_head.static_assigner_epoch)
        steps = math.ceil(max(0, epochs) * images / o.batch)
        context.detail(f"static_assigner_epoch={epochs}: labels go by geometry for {steps} steps, of {o.steps} in all")
        return steps


def check_input_size(size: list[int]) -> list[str]:
    """What keeps a model of this input size (height, width: multiples of ``STRIDE``) from being trained."""
    if size[0] * size[1] < MIN_CELLS * STRIDE**2:
        return [f"model.input_size={size} is too small to train: [96, 96] is the smallest square"]
    return []


@dataclass
class _Curve:
    """Losses of the steps since the last point, and the points."""

    points: list[dict[str, float]] = field(default_factory=list)
    recent: list[dict[str, float]] = field(default_factory=list)


def _train(trainer: Trainer, source: TrainingImages, o: FinetuneOptions, curve: _Curve, context: StageContext) -> None:
    from stages.detection.loader import prefetch

    started, images = time.perf_counter(), 0
    with stop_requests() as stop, closing(prefetch(source.batch, trainer.step, o.steps)) as batches:
        for batch in batches:
            rate = trainer.lr
            curve.recent.append(trainer.train(batch))
            images += len(batch.image)
            if trainer.step % o.log_every == 0 or trainer.step == o.steps:
                speed = images / (time.perf_counter() - started)
                _report(trainer.step, o.steps, rate, speed, curve, context)
                started, images = time.perf_counter(), 0
            if stop:
                _save(trainer, curve, context)
                context.info(f"stopped at step {trainer.step} of {o.steps}; the same command continues from there")
                raise SystemExit(128 + stop[0])
            if trainer.step % o.checkpoint_every == 0 and trainer.step < o.steps:
                _save(trainer, curve, context)


def _report(step: int, steps: int, rate: float, speed: float, curve: _Curve, context: StageContext) -> None:
    """Close a point of the curve: the mean of the losses since the last one."""
    point = {name: sum(r[name] for r in curve.recent) / len(curve.recent) for name in curve.recent[0]}
    curve.points.append({"step": step, "lr": rate, **point})
    curve.recent.clear()
    for name, value in point.items():
        context.metric(name, value, step)
    context.metric("lr", rate, step)
    context.metric("images_per_s", speed, step)
    context.progress(step, steps, loss=point["loss"], lr=rate, images_per_s=speed)


def _save(trainer: Trainer, curve: _Curve, context: StageContext) -> None:
    """Write the checkpoint beside the old one, then put it in its place."""
    state = {**trainer.state(), "kernels": trainer.kernels, "points": curve.points, "recent": curve.recent}
    temporary = context.work / f"{CHECKPOINT}.tmp"
    with temporary.open("wb") as stream:
        pickle.dump(state, stream, protocol=4)
        stream.flush()
        os.fsync(stream.fileno())
    put(temporary, context.work / CHECKPOINT)


def _restore(trainer: Trainer, context: StageContext) -> _Curve:
    """Take up the checkpoint of an interrupted run, if there is one."""
    from stages.outside import files, pickled_arrays

    path = context.work / CHECKPOINT
    if not path.is_file():
        return _Curve()
    try:
        state = pickled_arrays.loads(files.read_bytes(path))
        trainer.restore(state)
    except Exception as error:  # whatever is wrong with it, training from the start is right
        context.warn(f"the checkpoint of the interrupted training cannot be used ({error}); starting from step 0")
        return _Curve()
    context.info(f"continues from step {trainer.step} of an interrupted training")
    if remark := changed(state.get("kernels", trainer.kernels), trainer.kernels):
        context.warn(remark)
    return _Curve(points=state["points"], recent=state["recent"])
