"""A detector nobody trained, in a state that can be quantized: a stage for benchmarks, where speed is all that counts.

With random weights alone activations grow from layer to layer and the heads' outputs are constants (their weights start
at zero), which leaves a quantizer nothing to measure. So the statistics of batch normalization are those of the images
that the detector is calibrated on, and the heads get weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from stages.artifacts import Checkpoint, ImageList, hash_files
from stages.contract import StageContext
from stages.options.model import ModelOptions

SETTLED_ON = 4


@dataclass
class DrawnOptions:
    """The architecture; ``labels`` says for how many classes."""

    model: ModelOptions = field(default_factory=ModelOptions)


@dataclass(frozen=True)
class DrawnInputs:
    """The images whose statistics the layers get."""

    images: ImageList


class DrawnDetector:
    """Draw weights from the seed and write them as a checkpoint."""

    name: ClassVar[str] = "drawn_detector"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("paddlepaddle", "paddledet")
    Options: ClassVar[type] = DrawnOptions
    Inputs: ClassVar[type] = DrawnInputs
    Output: ClassVar[type[Checkpoint]] = Checkpoint

    def __init__(self, options: DrawnOptions) -> None:
        self.options = options

    def run(self, inputs: DrawnInputs, context: StageContext) -> Checkpoint:
        import stages.paddle  # noqa: F401  (has to come before paddle)

        # isort: split
        import paddle

        from stages.detection.images import read_image
        from stages.detection.preprocess import Preprocessor
        from stages.detection.sidecar import Sidecar
        from stages.detection.unlabeled import listed_paths
        from stages.paddle.models.models import build_detector

        model = self.options.model
        paddle.seed(context.seed)
        size = [int(v) for v in model.input_size]
        layer = build_detector(model, len(model.labels or ()), exclude_nms=True, eval_size=size)
        layer.eval()
        images = [read_image(path) for path in listed_paths(inputs.images)[:SETTLED_ON]]
        batch, scales = Preprocessor(Sidecar.from_model(model)).batch(images)
        _fill_heads(layer, paddle)
        _settle(layer, {"image": paddle.to_tensor(batch), "scale_factor": paddle.to_tensor(scales)}, paddle)
        paddle.save(layer.state_dict(), str(context.out / "model.pdparams"))
        return Checkpoint(root=context.out, files=hash_files(context.out))


def _settle(layer: Any, feeds: dict[str, Any], paddle: Any) -> None:
    norms = [part for part in layer.sublayers() if isinstance(part, paddle.nn.layer.norm._BatchNormBase)]
    for norm in norms:
        norm.train()
        norm._momentum = 0.0  # the running statistics become those of this batch
    with paddle.no_grad():
        layer(feeds)


def _fill_heads(layer: Any, paddle: Any) -> None:
    """Weights for each convolution that has only zeros: outputs then have a spread of about one."""
    for part in layer.sublayers():
        weight = getattr(part, "weight", None)
        if isinstance(part, paddle.nn.Conv2D) and not bool(weight.any()):
            spread = 1 / math.sqrt(math.prod(weight.shape[1:]))
            weight.set_value(paddle.randn(weight.shape) * spread)
