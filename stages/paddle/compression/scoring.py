"""Scores of a student while it is trained, by a loss or by mAP: both fit ``stages.distillation.loop.Evaluator``.

Both run the student's inference graph, in which weights and inputs of convolutions are rounded to eight bits with the
ranges as they are. An engine rounds outputs too, so its mAP is another number; what is compared here are states of one
student.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.artifacts import ExportedModel
from stages.contract import StageContext
from stages.detection.average_precision import summarize
from stages.detection.images import read_image
from stages.detection.inference import Array, Floats, ImageRunner
from stages.detection.matching import Truth, match
from stages.detection.results import class_to_category, gather
from stages.detection.sidecar import Sidecar
from stages.detection.unlabeled import UnlabeledImages
from stages.options.accuracy import NmsOptions
from stages.options.compression import CompressionSettings
from stages.outside import names
from stages.paddle.compression import slim
from stages.paddle.compression.teacher import Teacher
from stages.paddle.runtime.execution import Runner

Stopped = Callable[[], bool]


class HeldOutLoss:
    """The distillation loss on images that are not trained on."""

    metric = "eval_loss"
    higher_is_better = False

    def __init__(
        self,
        student: slim.Student,
        teacher: Teacher,
        images: UnlabeledImages,
        options: CompressionSettings,
        scope: Any,
        threads: int,
    ) -> None:
        self._inference, self._scope = student.inference, scope
        pruned = student.inference.prune(student.nodes)
        self._loss = slim.attach_loss(pruned.desc, student, options)
        self._runner = Runner(pruned.desc, threads)
        groups = [range(len(images))[i : i + options.batch] for i in range(0, len(images), options.batch)]
        self._groups = [(len(group), teacher.feeds(images, group)) for group in groups]

    def score(self, stopped: Stopped) -> float | None:
        """Mean over the images."""
        slim.set_weight_scales(self._inference, self._scope)
        total = 0.0
        for count, feeds in self._groups:
            if stopped():
                return None
            (loss,) = self._runner.run(feeds, [self._loss])
            total += count * float(loss.reshape(-1)[0])
        return total / sum(count for count, _ in self._groups)


class LabeledMap:
    """mAP, in points, on a few labelled images."""

    metric = "eval_map"
    higher_is_better = True

    def __init__(
        self,
        student: slim.Student,
        model: ExportedModel,
        coco: dict[str, Any],
        root: Path,
        nms: NmsOptions,
        scope: Any,
        context: StageContext,
    ) -> None:
        self._inference, self._scope = student.inference, scope
        program = student.inference.prune(student.inference.fetches)
        self._runner, self._outputs = Runner(program.desc, context.threads), program.fetches
        sidecar = Sidecar.read(model.path("infer_cfg.yml"))
        self._network = ImageRunner(model, sidecar, self._infer, batch=1)
        self._images, self._root, self._nms = coco["images"], root, nms
        self._categories = class_to_category(list(sidecar.labels), coco, context)
        self._truth = Truth.from_coco(coco)

    def score(self, stopped: Stopped) -> float | None:
        slim.set_weight_scales(self._inference, self._scope)
        found: list[tuple[int, Floats]] = []
        for entry in self._images:
            if stopped():
                return None
            (seen,) = self._network.run([read_image(names.image_path(self._root, entry))])
            if not seen.finite:
                return float("nan")
            found.append((entry["id"], seen.detections(self._nms)))
        value = summarize(match(self._truth, gather(found, self._truth, self._categories)))["AP"]
        return 0.0 if value is None else 100 * float(value)

    def _infer(self, feeds: Mapping[str, Array]) -> Sequence[Array]:
        return self._runner.run(feeds, self._outputs)
