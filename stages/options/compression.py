"""Quantization, by distillation or after training (`conf/compression`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.numerics.algorithms import ALGORITHMS
from stages.options.accuracy import NmsOptions
from stages.options.model import ModelOptions
from stages.options.rules import (
    ALL_DIFFERENT,
    COUNT,
    NAME,
    NOT_EMPTY,
    POSITIVE,
    Rule,
    above,
    at_least,
    between,
    matches,
    one_of,
    option,
    part,
    some_of,
)

QAT_DISTILL, PTQ, AUTO, NONE = "qat_distill", "ptq", "auto", "none"
METHODS = {
    QAT_DISTILL: "quantization-aware distillation",
    PTQ: "post-training quantization",
    AUTO: "cheapest compression that holds a limit",
    NONE: "none",
}
"""Method -> what reports call it. `stages.distillation.distill` dispatches on the first two."""

PTQ_ONLY = ("equalize", "bias_correction")
"""Options of `PTQ` alone; `AUTO` tries both by itself."""

TEACHERS = ("teacher", "teacher_weights", "teacher_labels")
"""Options that name a larger teacher, whose export is an input of stage ``distill``."""

SEARCHED = ("max_drop", "time_budget", "judge_images", "round_steps")
"""Options of `AUTO` alone."""

LOSSES = {
    "soft_label": "stages.paddle.compression.losses:SoftLabel",
    "l2": "stages.paddle.compression.losses:L2",
    "detection": "stages.paddle.compression.losses:Detection",
    "features": "stages.paddle.compression.losses:Features",
}
"""Loss -> its class, which is imported when it is used; a new loss is a class and a row."""

MOVING_AVERAGE = "moving_average"
ACTIVATION_RANGES = (MOVING_AVERAGE, *ALGORITHMS)

OPERATORS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "mul", "matmul", "matmul_v2")
"""Types of operators that PaddleSlim can quantize."""


@dataclass
class CompressionSettings:
    """How the INT8 model is made: quantization-aware distillation on unlabeled images, or ranges from a single pass."""

    method: str = option(
        QAT_DISTILL,
        one_of(*METHODS),
        "`qat_distill`: quantization-aware distillation from the FP32 model's own outputs; `ptq`: post-training "
        "quantization, ranges only; `auto`: the first of ranges, short distillations and blocks in float whose drop "
        "holds `max_drop`; `none`: FP32 only",
    )
    steps: int = option(5000, POSITIVE, "steps of the distillation")
    batch: int = option(4, POSITIVE, "images of a step, in each process")
    processes: int = option(
        1,
        POSITIVE,
        "processes that train one student together (`qat_distill`): on a GPU each, or on the CPU with a share of the "
        "threads each; a step takes `batch` images in each",
    )
    images: int | None = option(None, POSITIVE, "how many unlabeled images to sample; null: all")
    lr: float = option(3e-5, above(0), "learning rate of SGD, reached after the warm-up")
    lr_schedule: str = option(
        "cosine",
        one_of("cosine", "constant"),
        "`cosine`: after the warm-up the rate falls along a cosine; `constant`: it stays at `lr`",
    )
    cosine_length: float = option(
        1.0,
        above(0),
        "where half of the cosine ends, in multiples of `steps`. 1: the rate ends at 0; 1.2 (PaddleSlim's `T_max: "
        "6000` of 5000 steps): at 7 % of `lr`; less than 1: it rises again after that, as Paddle's does",
    )
    weight_decay: float = option(4e-5, COUNT, "weight decay (L2)")
    warmup_steps: int = option(0, COUNT, "steps in which the learning rate rises to `lr`")
    loss: str = option(
        "soft_label",
        one_of(*LOSSES),
        "`soft_label` and `l2`: PaddleSlim's; `detection`: class probabilities and box distributions; `features`: "
        "those and the neck's features",
    )
    teacher: str | None = option(
        None,
        NAME,
        "with `qat_distill` and the loss `detection` or `features`: a larger model of `conf/model` to learn from, e.g. "
        "`ppyoloe_l`, with the same classes and strides, at the model's input size; null: the model's own FP32 form",
    )
    teacher_weights: str | None = option(None, NOT_EMPTY, "the teacher's `.pdparams` file")
    teacher_labels: list[str] | None = option(
        None, ALL_DIFFERENT, "names of the teacher's classes in its order; null: those of the model"
    )
    temperature: float = option(1.0, above(0), "what logits are divided by in the losses `detection` and `features`")
    feature_weight: float = option(1.0, COUNT, "weight of the neck-feature term in the loss `features`")
    alpha: float = option(1.0, above(0), "factor of the loss")
    use_pact: bool = option(
        True,
        doc="trainable clipping of activations (PACT) before their quantizers, while training; false makes steps about "
        "a third faster",
    )
    activation_ranges: str = option(
        MOVING_AVERAGE,
        one_of(*ACTIVATION_RANGES),
        "activation ranges while training: `moving_average` of the largest values, or fixed as one of the algorithms "
        "of `ptq_algo` found them",
    )
    weight_quantize_type: str = option(
        "channel_wise_abs_max",
        one_of("channel_wise_abs_max", "abs_max"),
        "weight scales: one for each output channel, or one for the whole tensor",
    )
    quantize_op_types: list[str] = option(
        ["conv2d", "depthwise_conv2d"],
        some_of(lambda: OPERATORS, "type of operator", least=1),
        "types of operators that are quantized",
    )
    skip_tensor_list: list[str] = option(
        [],
        Rule(lambda v: all(v) and len(set(v)) == len(v), "it must name each tensor once"),
        "tensors (weights or activations) by their names in the graph: operators that read one of them stay in float",
    )
    ptq_algo: str = option("hist", one_of(*ALGORITHMS), "how `ptq` finds activation ranges")
    equalize: bool = option(
        False,
        doc="with `ptq`: scale channels between two convolutions so that they share a range (cross-layer equalisation) "
        "where that changes nothing in FP32, which is across ReLU and not across SiLU",
    )
    bias_correction: bool = option(
        False,
        doc="with `ptq`: correct the bias of each quantized convolution by the mean difference of its outputs from "
        "FP32's over the observed images",
    )
    calibration_images: int = option(
        32,
        POSITIVE,
        "images on which activation ranges are observed (`qat_distill`: before and after the steps)",
    )
    max_map_drop: float | None = option(
        None,
        COUNT,
        "points of mAP that INT8 may lose on the labelled images (see `sensitivity`); the blocks that cost most stay "
        "in float until it holds; null: every block is quantized",
    )
    min_speedup: float = option(
        1.0,
        above(0),
        "with `max_map_drop`: stop moving blocks to float when the engine's speed-up over FP32 would fall below this",
    )
    max_drop: float = option(
        0.5,
        above(0),
        "with `auto`: what INT8 may lose, by the upper bound of the paired 95 % interval: points of mAP on labelled "
        "training images held out of the rest, or the distance of outputs where there are none",
    )
    time_budget: str = option(
        "2h",
        matches(r"\d+(\.\d+)?[smhd]", "it must be a number with its unit: 90s, 30m, 2h or 1d"),
        "with `auto`: no step is begun that would not end within this time (`90s`, `30m`, `2h`, `1d`)",
    )
    judge_images: int = option(
        256,
        at_least(2),
        "with `auto`: images that compressions are judged on, held out of all else; at most half of the labelled "
        "training images, without labels a quarter of the unlabeled ones",
    )
    round_steps: int = option(
        250, POSITIVE, "with `auto`: steps of the first distillation; twice as many while that gains, up to `steps`"
    )
    eval_every: int | None = option(
        500,
        POSITIVE,
        "steps between two scores of the student; the best student is exported; null: it is not scored, and the last "
        "one is exported",
    )
    eval_by: str = option(
        "loss",
        one_of("loss", "map"),
        "how the student is scored: `loss`: the distillation loss on held-out unlabeled images; `map`: mAP on training "
        "labels (`data.train_annotations`)",
    )
    target_map: float | None = option(
        None,
        between(0, 100),
        "with `eval_by=map`: stop as soon as the student's score reaches this mAP, in points; null: all steps are done",
    )
    eval_images: int = option(
        16,
        POSITIVE,
        "images of a score; they are not trained on, and are at most a quarter of the unlabeled ones",
    )
    checkpoint_every: int = option(
        100, POSITIVE, "steps between two checkpoints; an interrupted run loses no more than this"
    )
    log_every: int = option(10, POSITIVE, "steps between two points of the loss curve")


@dataclass
class DistillOptions(CompressionSettings):
    """Options of stage ``distill``; NMS is the one that scoring uses."""

    model: ModelOptions = part(ModelOptions, "model")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
