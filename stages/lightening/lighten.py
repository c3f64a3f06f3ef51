"""Stage ``lighten``: FP32 model and unlabeled images -> a lighter FP32 model in the same forms, for what quantizes it.

The student learned from the original, without labels. Its files are those of stage ``export``, and beside them
``light.json`` (`content`), ``history.json`` (the curve) and, where it was scored, ``scores.json``, as of ``distill``.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from stages.artifacts import LAYERS_FILE, LIGHT_FILE, ExportedModel, ImageList, Precision
from stages.contract import StageContext
from stages.distillation.loop import Loop, Progress
from stages.distillation.schedule import falling
from stages.errors import ConfigError, DataError
from stages.options.check import require_valid
from stages.options.export import ExportOptions
from stages.options.lighten import HARDSWISH_OPSET, KEEP, OPSET_NEEDED, LightenOptions, blocks_steps, lightens
from stages.outside import records

if TYPE_CHECKING:
    from stages.detection.unlabeled import UnlabeledImages
    from stages.paddle.lightening.student import Lightened

SCHEMA_VERSION = 1
WARM_UP = 100
"""Steps in which the whole reaches its rate: Adam knows nothing of the gradients yet, and steps of the full size undo
what the blocks have learned (docs/decisions/0015-less-work.md)."""


@dataclass(frozen=True)
class LightenInputs:
    """The exported FP32 model, and the images that the lighter one learns on."""

    model: ExportedModel
    images: ImageList


class Lighten:
    """See the module's docstring."""

    name: ClassVar[str] = "lighten"
    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("paddlepaddle", "paddlepaddle-gpu", "paddleslim", "paddle2onnx", "onnx")
    Options: ClassVar[type] = LightenOptions
    Inputs: ClassVar[type] = LightenInputs
    Output: ClassVar[type[ExportedModel]] = ExportedModel

    def __init__(self, options: LightenOptions) -> None:
        self.options = options

    def run(self, inputs: LightenInputs, context: StageContext) -> ExportedModel:
        """Exchange, distil, export.

        Raises:
            ConfigError: settings that cannot be used, or a model that has nothing to exchange.
            DataError: no images.
            StageError: the student diverges again and again.
        """
        o = self.options
        require_valid(o, "compression")
        if not lightens(o):
            raise ConfigError(["compression.activation: nothing is to be made lighter; choose relu"])
        if o.activation == "hardswish" and o.opset < HARDSWISH_OPSET:
            raise ConfigError([f"compression.activation: {OPSET_NEEDED}"])
        from stages.detection.unlabeled import images_for, listed_paths
        from stages.distillation.held_out import set_apart
        from stages.export.export import Export
        from stages.paddle.lightening.student import finish, loss_settings, prepare
        from stages.paddle.models.freeze import freeze_program
        from stages.paddle.runtime.memory import out_of_memory_explained, report_memory

        model, paths = inputs.model, listed_paths(inputs.images)
        if not paths:
            raise DataError("there are no unlabeled images to learn on; check data.unlabeled_images.")
        paths, apart = set_apart(paths, o, context)

        def images(chosen: list[Path], *, mirrored: bool = False) -> UnlabeledImages:
            return images_for(model, chosen, batch=o.batch, seed=context.seed, mirrored=mirrored)

        trained = context.work / "trained"
        shutil.rmtree(trained, ignore_errors=True)
        trained.mkdir()
        with (
            out_of_memory_explained("compression.batch", o.batch),
            prepare(model, images(paths, mirrored=True), images(apart) if apart else None, o, context) as student,
        ):
            settings = loss_settings(o)
            key = "compression.light_lr"
            done = Loop(
                *(student.trainee, student.batch, student.evaluator, settings, context),
                rate_key=key,
                schedule=lambda step: rate(step, o),
            ).run()
            finish(student, trained)
            lightened = student.lightened
        report_memory(context)
        program, params = trained / "model.pdmodel", trained / "model.pdiparams"
        frozen = freeze_program(program, params, context.out, model=o.model, batch=model.batch)
        layers = records.read(model.path(LAYERS_FILE), dict[str, str])  # the names of weights have stayed
        told = content(o, lightened, done, len(paths))
        (context.out / LIGHT_FILE).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        done.write(context.out)
        return Export(self._export_options(model)).written(replace(frozen, layers=layers), inputs.images, context)

    def _export_options(self, model: ExportedModel) -> ExportOptions:
        o = self.options
        return ExportOptions(
            batch=model.batch,
            opset=o.opset,
            agreement_images=o.agreement_images,
            max_difference=o.max_difference,
            model=o.model,
            precision=Precision.FP32.value,
        )


def rate(step: int, o: LightenOptions) -> float:
    """Learning rate of step ``step`` (from 0): one cosine while blocks learn alone, one for the whole."""
    first = blocks_steps(o)
    if step < first:
        return o.lr * falling(step, first)
    step, steps = step - first, o.steps - first
    warm = min(1.0, (step + 1) / min(WARM_UP, max(1, steps // 4)))
    return o.lr * warm * falling(step, max(1, steps))


def content(o: LightenOptions, lightened: Lightened, done: Progress, images: int) -> dict[str, Any]:
    """``light.json``: what was exchanged or taken away, and how long the student learned."""
    return {
        "schema_version": SCHEMA_VERSION,
        "activation": o.activation or KEEP,
        "exchanged": lightened.exchanged,
        "kept": lightened.kept,
        "prune": o.prune,
        "parameters": list(lightened.parameters),
        "multiply_adds": None if lightened.macs is None else list(lightened.macs),
        "steps": done.step,
        "best": done.best if done.scores else done.step,
        "images": images,
    }
