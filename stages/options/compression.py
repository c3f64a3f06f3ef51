"""Quantization, by distillation or after training (`conf/compression`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.options.accuracy import NmsOptions
from stages.options.model import ModelOptions


@dataclass
class CompressionSettings:
    """Compression: the part the user sets (``conf/compression``)."""

    method: str = "qat_distill"
    """``qat_distill``, ``ptq`` or ``none`` (FP32 only)."""
    steps: int = 5000
    batch: int = 4
    """Images of a step, in each process."""
    processes: int = 1
    """Processes that train one student together (``qat_distill``): on a GPU each, or on the CPU with a share of the
    threads. A step takes ``batch`` images in each."""
    images: int | None = None
    """How many unlabeled images to sample; ``None``: all."""
    lr: float = 3e-5
    weight_decay: float = 4e-5
    warmup_steps: int = 0
    loss: str = "soft_label"
    """``soft_label`` and ``l2`` (PaddleSlim's), ``detection``: class probabilities and box distributions, or
    ``features``: the neck's features too."""
    temperature: float = 1.0
    """What logits are divided by in ``detection`` and ``features``."""
    feature_weight: float = 1.0
    """Of the relative error of the neck's features in ``features``."""
    alpha: float = 1.0
    use_pact: bool = True
    """Trainable clipping of activations (PACT) before their quantizers, while training."""
    activation_ranges: str = "moving_average"
    """While training: ``moving_average`` of the largest values, or kept as a choice of ``ptq_algo`` found them."""
    weight_quantize_type: str = "channel_wise_abs_max"
    quantize_op_types: list[str] = field(default_factory=lambda: ["conv2d", "depthwise_conv2d"])
    ptq_algo: str = "hist"
    """Activation ranges for ``ptq``: abs_max, avg, hist, KL or mse."""
    calibration_images: int = 32
    """Images on which ranges of activations are observed (``qat_distill``: before and after the steps)."""
    max_map_drop: float | None = None
    """Points of mAP that INT8 may lose on the labelled images (see ``SensitivitySettings``); blocks that cost most are
    left in float until it holds. ``None``: every block is quantized."""
    min_speedup: float = 1.0
    """With ``max_map_drop``: no further block is left in float if the engine were less than this many times as fast as
    FP32."""
    eval_every: int | None = 500
    """Steps between two scores of the student; the best one is exported. ``None``: not scored, the last is exported."""
    eval_by: str = "loss"
    """``loss``: the distillation loss on images held out of the unlabeled ones; ``map``: mAP on training labels."""
    eval_images: int = 16
    """Images for a score; they are not trained on. Of the unlabeled ones a quarter at most."""
    checkpoint_every: int = 100
    log_every: int = 10


@dataclass
class DistillOptions(CompressionSettings):
    """Options of stage ``distill``; NMS is the one that scoring uses."""

    model: ModelOptions = field(default_factory=ModelOptions)
    nms: NmsOptions = field(default_factory=NmsOptions)
