"""The detector: an architecture and where its weights come from (`conf/model`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.rules import (
    ALL_DIFFERENT,
    COUNT,
    NAME,
    SHARE,
    above,
    matches,
    multiple_of,
    numbers,
    one_of,
    option,
)

INTERPOLATIONS: dict[str, int] = {"nearest": 0, "linear": 1, "cubic": 2, "area": 3}
"""How images are resized -> OpenCV's number for it, which is the ``interp`` of Paddle's sidecar files too."""

STRIDE = 32
"""The coarsest of the detector's strides, in pixels."""


@dataclass
class ModelOptions:
    """The detector's architecture and where its weights come from."""

    name: str = option("", NAME, "short name, e.g. `ppyoloe_l`")
    architecture: dict[str, Any] = option(
        {},
        doc="entries of PaddleDetection's registry: `{architecture: YOLOv3, YOLOv3: {...}, CSPResNet: {...}, ...}`",
    )
    parameters: int = option(
        0, COUNT, "number of parameters with 80 classes, as PaddleDetection publishes it; 0: not published"
    )
    input_size: list[int] = option(
        [640, 640],
        numbers(2, multiple_of(STRIDE, "the coarsest stride of the detector")),
        "height and width of the network's input",
    )
    mean: list[float] = option([0.485, 0.456, 0.406], numbers(3, COUNT), "subtracted from each channel (RGB, 0 to 1)")
    std: list[float] = option([0.229, 0.224, 0.225], numbers(3, above(0)), "divides each channel after that")
    interpolation: str = option(
        "cubic", one_of(*INTERPOLATIONS), "how images are resized (the aspect ratio is not kept)"
    )
    scale: bool = option(True, doc="divide pixels by 255 first, so that `mean` and `std` are of values from 0 to 1")
    weights: str | None = option(None, doc="a `.pdparams` file: path or URL")
    weights_sha256: str | None = option(
        None,
        matches("[0-9a-fA-F]{64}", "it must be 64 hexadecimal digits"),
        "expected SHA-256 of a downloaded file; a mismatch is an error",
    )
    inference_dir: str | None = option(
        None, doc="a folder with an exported model, of Paddle 2 (`.pdmodel`) or 3 (`.json`), in place of `weights`"
    )
    random_weights: bool = option(
        False, doc="use untrained weights, to measure speed only (accuracy then means nothing)"
    )
    draw_threshold: float = option(
        0.5, SHARE, "least score of a box that `detpress predict` shows; mAP is over all boxes"
    )
    labels: list[str] | None = option(
        None,
        ALL_DIFFERENT,
        "names of the classes in the model's order; null: those that the export states, else the categories in the "
        "order of the training labels' file (else the validation labels')",
    )
