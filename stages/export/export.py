"""Stage ``export``: a model in the forms engines are built from.

Paddle inference model, ONNX, and the sidecar; and the proof that ONNX and Paddle agree on real images.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from stages.artifacts import (
    EQUALIZED_FILE,
    LAYERS_FILE,
    MAGNITUDES_FILE,
    Artifact,
    Checkpoint,
    ExportedModel,
    ImageList,
    InferenceModel,
    Precision,
    QuantizedModel,
    hash_files,
)
from stages.contract import StageContext
from stages.errors import AgreementError, ConfigError
from stages.options.export import ExportOptions

if TYPE_CHECKING:
    from stages.paddle.models.freeze import Frozen

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ExportInputs:
    """``model`` may be absent only with ``model.random_weights``; ``images`` are what agreement is shown on."""

    model: Checkpoint | InferenceModel | QuantizedModel | None
    images: ImageList


class Export:
    """See the module's docstring and ``stages.contract.ExportedModel``."""

    name = "export"
    version = 5  # 5: magnitudes.json
    packages: ClassVar[tuple[str, ...]] = ("paddlepaddle", "paddlepaddle-gpu", "paddledet", "paddle2onnx", "onnx")
    Options = ExportOptions
    Inputs = ExportInputs
    Output = ExportedModel

    def __init__(self, options: ExportOptions) -> None:
        self.options = options

    def run(self, inputs: ExportInputs, context: StageContext) -> ExportedModel:
        """Freeze, convert, compare.

        Raises:
            ConfigError: no model and no ``random_weights``.
            WeightsError: the model is not what the config says (see ``stages.paddle.models.freeze``).
            AgreementError: FP32 ONNX and Paddle differ by more than ``max_difference`` (relative).
        """
        frozen = self._freeze(inputs.model, context)
        if frozen.remark:
            context.warn(frozen.remark)
        if inputs.model is not None and EQUALIZED_FILE in inputs.model.files:
            shutil.copyfile(inputs.model.path(EQUALIZED_FILE), context.out / EQUALIZED_FILE)
        return self.written(frozen, inputs.images, context)

    def written(self, frozen: Frozen, images: ImageList, context: StageContext) -> ExportedModel:
        """The other forms of the model that is frozen in ``context.out``, beside it, and the comparison.

        Raises:
            AgreementError: as of `run`.
        """
        from stages.detection.sidecar import Sidecar
        from stages.paddle.models.onnx_export import BOXES, SCORES, export_onnx

        program, params = context.out / "model.pdmodel", context.out / "model.pdiparams"
        for extra in context.out.glob("model.pdiparams.info"):
            extra.unlink()
        export_onnx(program, params, context.out / "model.onnx", opset=self.options.opset)
        names: dict[str, Any] = {
            "image_input": frozen.image_input,
            "scale_input": frozen.scale_input or "scale_factor",
            "boxes_output": BOXES,
            "scores_output": SCORES,
            "scale_factor": frozen.scale_factor,
        }
        sidecar = Sidecar.from_model(self.options.model, **names)
        sidecar.write(context.out / "infer_cfg.yml")
        if self.options.precision == Precision.FP32:
            (context.out / LAYERS_FILE).write_text(json.dumps(frozen.layers, indent=1), encoding="utf-8")
        agreement = self._agreement(frozen, sidecar, images, context)
        self._note_magnitudes(frozen, sidecar, images, context)
        return ExportedModel(
            root=context.out,
            files=hash_files(context.out),
            precision=Precision(self.options.precision),
            input_size=list(frozen.input_size),
            batch=frozen.batch,
            agreement=agreement,
            **names,
        )

    def _freeze(self, model: Artifact | None, context: StageContext) -> Frozen:
        options = self.options
        if isinstance(model, (Checkpoint, type(None))):
            if model is None and not options.model.random_weights:
                ways = "model.weights=FILE.pdparams, model.inference_dir=DIR or model.random_weights=true"
                raise ConfigError([f"no weights: give {ways}"])
            from stages.paddle.models.freeze import freeze_checkpoint

            weights = model.path(model.weights) if model is not None else None
            return freeze_checkpoint(options.model, weights, context.out, batch=options.batch, seed=context.seed)
        from stages.paddle.models.freeze import freeze_program

        program, params = "model.pdmodel", "model.pdiparams"
        if isinstance(model, InferenceModel):
            program, params = model.program, model.params
            self._say_how_images_are_prepared(model, context)
        return freeze_program(
            model.path(program),
            model.path(params),
            context.out,
            model=options.model,
            batch=options.batch,
            named=isinstance(model, InferenceModel),
        )

    def _say_how_images_are_prepared(self, model: InferenceModel, context: StageContext) -> None:
        own = self.options.model
        values = (
            f"{own.input_size[1]}x{own.input_size[0]} by {own.interpolation} interpolation, pixels from 0 to "
            f"{1 if own.scale else 255}, mean {own.mean}, std {own.std}"
        )
        if model.settings:
            context.detail(f"images are prepared as {model.settings} says: {values}")
        else:
            context.warn(
                f"no infer_cfg.yml lies beside {model.program}: it is assumed to take images as model={own.name} does: "
                f"{values}"
            )

    def _agreement(self, frozen: Frozen, sidecar: Any, images: ImageList, context: StageContext) -> dict[str, float]:
        """Largest differences of ONNX Runtime to Paddle Inference, over images and outputs; reported as metrics.

        For each output: ``abs`` = max |onnx - paddle|, in pixels for boxes, in probability for scores; ``rel`` = abs
        / max |paddle|, the maximum being over the whole output of all compared images, so that a score of 1e-9 that
        differs by 1e-9 does not count as a difference of 100 %. INT8 is compared on one image.
        """
        from stages.detection.unlabeled import listed_paths

        int8 = self.options.precision == Precision.INT8
        count = 1 if int8 else self.options.agreement_images  # Paddle runs a Q/DQ program slowly, and nothing is judged
        pairs = compare(context.out, frozen, sidecar, listed_paths(images)[:count], context.threads)
        agreement: dict[str, float] = {}
        for output, (ours, reference) in pairs.items():
            difference = float(np.max(np.abs(ours - reference)))
            largest = float(np.max(np.abs(reference)))
            agreement[f"{output}_abs"] = difference
            agreement[f"{output}_rel"] = difference / largest if largest > 0 else difference
        worst = max((v for k, v in agreement.items() if k.endswith("_rel")), default=0.0)
        agreement["max_rel"] = worst
        for name, value in agreement.items():
            context.metric(f"agreement.{name}", value)
        if not np.isfinite(worst):
            raise AgreementError("the exported model gives values that are not finite; check the weights it came from.")
        if self.options.precision == Precision.FP32 and worst > self.options.max_difference:
            raise AgreementError(
                f"ONNX and Paddle differ by {worst:.2e} (relative) on real images, more than "
                f"export.max_difference={self.options.max_difference:g}. Check the versions of paddle2onnx and "
                "onnxruntime (requirements.lock), or raise the bound if this difference is acceptable."
            )
        if int8:
            context.detail(
                f"ONNX (Q/DQ) differs from Paddle's INT8 by at most {worst:.1e} (relative), over all anchors: Paddle "
                "rounds the inputs of convolutions only, ONNX their outputs too. This is reported, mAP is what counts."
            )
        return agreement

    def _note_magnitudes(self, frozen: Frozen, sidecar: Any, images: ImageList, context: StageContext) -> None:
        """Which tensors hold large numbers on the images of the agreement: FP16 has no room for some."""
        from stages.detection.unlabeled import listed_paths
        from stages.lowering.magnitudes import largest, write

        count = 1 if self.options.precision == Precision.INT8 else self.options.agreement_images
        if not (paths := listed_paths(images)[:count]):
            return
        import onnx

        found = largest(onnx.load(str(context.out / "model.onnx")), feeds_of(frozen, sidecar, paths), context.threads)
        write(found, context.out / MAGNITUDES_FILE)


def feeds_of(frozen: Frozen, sidecar: Any, paths: list[Path]) -> Iterator[dict[str, Array]]:
    """The graph's inputs for ``paths``, a batch at a time; the last batch is filled up with the first images."""
    from stages.detection.images import read_image
    from stages.detection.inference import feeds_for
    from stages.detection.preprocess import Preprocessor

    preprocess = Preprocessor(sidecar)
    for start in range(0, len(paths), frozen.batch):
        chosen = [paths[(start + i) % len(paths)] for i in range(frozen.batch)]
        image, scale = preprocess.batch([read_image(path) for path in chosen])
        yield feeds_for(frozen, image, scale)


def compare(
    folder: Path, frozen: Frozen, sidecar: Any, paths: list[Path], threads: int
) -> dict[str, tuple[Array, Array]]:
    """Output name -> (ONNX Runtime's, Paddle Inference's) on ``paths``, images stacked along the first axis."""
    import onnxruntime

    from stages.paddle.runtime.infer import Predictor

    if not paths:
        return {}
    session_options = onnxruntime.SessionOptions()
    session_options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        str(folder / "model.onnx"), session_options, providers=["CPUExecutionProvider"]
    )
    predictor = Predictor(folder / "model.pdmodel", folder / "model.pdiparams", threads=threads)
    ours: list[list[Array]] = []
    reference: list[list[Array]] = []
    for feeds in feeds_of(frozen, sidecar, paths):
        ours.append(session.run(None, feeds))
        reference.append(predictor.run(feeds))
    return {
        name: (np.concatenate([o[i] for o in ours]), np.concatenate([r[i] for r in reference]))
        for i, name in enumerate(("boxes", "scores"))
    }
