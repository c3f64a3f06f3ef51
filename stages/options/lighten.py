"""A lighter float model before the quantization: cheaper activations, fewer channels (`conf/compression`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.compression import CompressionSettings
from stages.options.export import ExportSettings
from stages.options.model import ModelOptions
from stages.options.rules import COUNT, POSITIVE, SHARE, Rule, above, from_to_below, like, one_of, option, part

KEEP = "keep"
ACTIVATIONS = {"relu": "ReLU", "leaky_relu": "leaky ReLU", "hardswish": "hard swish"}
"""What SiLU can be exchanged for -> what reports call it."""


@dataclass
class LightenSettings:
    """What the model is relieved of before it is quantized, and the distillation that makes up for it."""

    activation: str | None = option(
        None,
        one_of(KEEP, *ACTIVATIONS),
        "what SiLU is exchanged for in backbone and neck: `relu` (free on every runtime), `leaky_relu`, `hardswish`; "
        "the lighter model is distilled from the original on unlabeled images; null or `keep`: SiLU stays",
    )
    activation_head: bool = option(False, doc="exchange the head's activations too")
    activation_share: float = option(
        1.0,
        Rule(lambda v: 0 < v <= 1, "it must be more than 0 and at most 1"),
        "share of the values that go through SiLU which is to be exchanged: the largest maps, which cost most, come "
        "first, and the others keep it",
    )
    prune: float | None = option(
        None,
        from_to_below(0, 0.9),
        "share of the channels that is taken away, the least important first; distilled likewise; null: none",
    )
    light_steps: int = option(
        2000,
        COUNT,
        "steps of the distillation of the lighter model; 0: none, to see how fast it would be before it is trained",
    )
    light_lr: float = option(
        1e-3,
        above(0),
        "its learning rate (Adam) while blocks learn alone, and after 100 steps of warm-up for the whole; each time it "
        "falls to 0 along a cosine",
    )
    light_images: int | None = option(
        None,
        POSITIVE,
        "how many unlabeled images it learns on, each also mirrored; null: as many as its steps see, also where "
        "`compression.images` samples fewer",
    )
    light_blocks: float = option(
        0.1,
        SHARE,
        "share of its steps in which each block learns alone, fed with the original's features; in the others the "
        "whole model learns",
    )


@dataclass
class CompressionConfig(CompressionSettings, LightenSettings):
    """The section ``compression``: a lighter float model, if one is asked for, and how the INT8 model is made."""


@dataclass
class LightenOptions:
    """Options of stage ``lighten``."""

    activation: str | None = like(LightenSettings, "activation")
    activation_head: bool = like(LightenSettings, "activation_head")
    activation_share: float = like(LightenSettings, "activation_share")
    prune: float | None = like(LightenSettings, "prune")
    steps: int = like(LightenSettings, "light_steps")
    lr: float = like(LightenSettings, "light_lr")
    blocks: float = like(LightenSettings, "light_blocks")
    batch: int = like(CompressionSettings, "batch")
    temperature: float = like(CompressionSettings, "temperature")
    feature_weight: float = like(CompressionSettings, "feature_weight")
    eval_every: int | None = like(CompressionSettings, "eval_every")
    eval_images: int = like(CompressionSettings, "eval_images")
    checkpoint_every: int = like(CompressionSettings, "checkpoint_every")
    log_every: int = like(CompressionSettings, "log_every")
    opset: int = like(ExportSettings, "opset")
    agreement_images: int = like(ExportSettings, "agreement_images")
    max_difference: float = like(ExportSettings, "max_difference")
    model: ModelOptions = part(ModelOptions, "model")


HARDSWISH_OPSET = 14
"""The first ONNX operator set that has hard swish; with an earlier one Paddle2ONNX ends the process."""
OPSET_NEEDED = f"hardswish is in ONNX from operator set {HARDSWISH_OPSET} on; set export.opset={HARDSWISH_OPSET}"


def lightens(settings: LightenSettings | LightenOptions) -> bool:
    """Whether there is anything that the model is relieved of."""
    return settings.activation not in (None, KEEP) or settings.prune is not None


def blocks_steps(options: LightenOptions) -> int:
    """Steps in which each block learns alone."""
    return round(options.blocks * options.steps)
