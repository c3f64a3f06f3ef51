"""A stage for benchmarks: an exported model with fewer channels, in Paddle's form, as a user might bring it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import ExportedModel, ImageList, InferenceModel, hash_files
from stages.contract import StageContext


@dataclass
class ThinnedOptions:
    """See ``stages.paddle.lightening.channels.Pruning``."""

    fraction: float = 0.3
    criterion: str = "magnitude"
    spread: str = "uniform"
    refit: bool = False
    multiple: int = 16
    images: int = 4
    """To look at, where the criterion does."""


@dataclass(frozen=True)
class ThinnedInputs:
    """The whole model, and images without labels."""

    model: ExportedModel
    images: ImageList


class Thinned:
    """Fold batch normalization, remove channels, write the program."""

    name: ClassVar[str] = "thinned"
    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ("paddlepaddle",)
    Options: ClassVar[type] = ThinnedOptions
    Inputs: ClassVar[type] = ThinnedInputs
    Output: ClassVar[type[InferenceModel]] = InferenceModel

    def __init__(self, options: ThinnedOptions) -> None:
        self.options = options

    def run(self, inputs: ThinnedInputs, context: StageContext) -> InferenceModel:
        from stages.detection.unlabeled import images_for, listed_paths
        from stages.paddle.compression.anatomy import fold_batch_norm
        from stages.paddle.compression.ptq import calibration
        from stages.paddle.lightening.channels import Pruning, prune_channels
        from stages.paddle.lightening.selection import Rule
        from stages.paddle.runtime.program import fresh_scope, load_program

        o, model = self.options, inputs.model
        images = images_for(model, listed_paths(inputs.images), batch=1, seed=context.seed)
        asked = Pruning(o.fraction, o.criterion, o.spread, Rule(o.multiple, o.multiple), refit=o.refit)
        with fresh_scope() as scope:
            loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
            whole = fold_batch_norm(loaded, scope)
            small = prune_channels(
                whole, scope, asked, lambda: calibration(images, o.images, model), threads=context.threads
            )
            small.program.save(context.out / "model")
        context.info(f"multiply-adds {small.macs[0] / 1e9:.2f} -> {small.macs[1] / 1e9:.2f} billion")
        return InferenceModel(root=context.out, files=hash_files(context.out))
