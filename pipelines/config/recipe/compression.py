"""How a recipe quantizes, distils and trains, as keys of ``compression``.

Where a recipe leaves out a key, what its tool then does counts, as far as it changes results: ACT trains without PACT,
by the loss ``l2``, and without weight decay.
"""

from __future__ import annotations

from typing import Any

from pipelines.config.recipe.source import Section, Translation
from stages.numerics.algorithms import ALGORITHMS
from stages.numerics.ranges import PERCENT
from stages.options.compression import MOVING_AVERAGE, OPERATORS

RANGES_NOTE = "activations are quantized by a moving average of their largest values, or by compression.ptq_algo's"
BITS_NOTE = "weights and activations have eight bits"
ONNX_NOTE = "models are always written with quantize and dequantize operators, as ONNX has them"
WEIGHT_TYPES = ("channel_wise_abs_max", "abs_max")
LOSSES = ("soft_label", "l2")
STEPS = "compression.steps=N, the number of training steps"


def quantization(section: Section, out: Translation) -> None:
    """``QuantAware``."""
    out.values["compression.use_pact"] = bool(section.take("use_pact"))
    _ranges(section, out)
    _quantizers(section, out)
    section.expect("moving_rate", 0.9, why="the moving average's decay is 0.9")
    section.expect("window_size", 10000, why="it belongs to range_abs_max")
    section.expect("not_quant_pattern", "skip_quant", ["skip_quant"], why="name tensors: compression.skip_tensor_list")
    section.expect("for_tensorrt", False, why="compression.quantize_op_types says what is quantized, for every backend")
    section.close()


def _ranges(section: Section, out: Translation) -> None:
    kind = section.take("activation_quantize_type")
    if kind == "moving_average_abs_max":
        out.values["compression.activation_ranges"] = MOVING_AVERAGE
    elif kind is not None:
        section.leave("activation_quantize_type", f"{kind!r} is not taken: {RANGES_NOTE}")


def _quantizers(section: Section, out: Translation) -> None:
    """What ``QuantAware`` and ``QuantPost`` have in common."""
    types = section.texts("quantize_op_types")
    if types is not None:
        known = [name for name in types if name in OPERATORS]
        if others := [name for name in types if name not in OPERATORS]:
            section.leave("quantize_op_types", f"{', '.join(others)}: quantized are only {', '.join(OPERATORS)}")
        if known:
            out.values["compression.quantize_op_types"] = known
    weights = section.take("weight_quantize_type")
    if weights in WEIGHT_TYPES:
        out.values["compression.weight_quantize_type"] = weights
    elif weights is not None:
        section.leave("weight_quantize_type", f"{weights!r} is not taken: there are {' and '.join(WEIGHT_TYPES)}")
    section.expect("weight_bits", 8, why=BITS_NOTE)
    section.expect("activation_bits", 8, why=BITS_NOTE)
    section.expect("dtype", "int8", why=BITS_NOTE)
    section.expect("onnx_format", True, why=ONNX_NOTE)
    section.expect("is_full_quantize", False, why="compression.quantize_op_types says what is quantized")


def distillation(section: Section, model_dir: Any, out: Translation) -> None:
    """``Distillation``; ``model_dir`` is the model that is compressed, which is its own teacher here."""
    losses = section.take("loss") or "l2"
    loss = losses[0] if isinstance(losses, list) and len(losses) == 1 else losses
    if loss in LOSSES:
        out.values["compression.loss"] = loss
    else:
        section.leave("loss", f"{loss!r} is not taken: one of {', '.join(LOSSES)}, detection and features is")
    alpha = section.take("alpha")
    alpha = alpha[0] if isinstance(alpha, list) and len(alpha) == 1 else alpha
    if isinstance(alpha, list):
        section.leave("alpha", "several factors are not taken: one factor holds for all nodes")
    elif alpha is not None:
        out.values["compression.alpha"] = section.as_number("alpha", alpha)
    section.expect("node", [], why="the nodes are found in the graph: the outputs of the last layers with weights")
    section.expect("teacher_model_dir", model_dir, why="the teacher is the FP32 model itself")
    for key in ("teacher_model_filename", "teacher_params_filename"):
        section.take(key)  # they only name the files of the teacher
    section.close()


def training(section: Section, scored: bool, out: Translation) -> None:
    """``TrainConfig``; ``scored``: the recipe's tool scores the student (``Global.Evaluation``)."""
    steps = section.number("train_iter", whole=True)
    if steps is not None:
        out.values["compression.steps"] = steps
    else:
        out.missing.append(STEPS)
    if section.take("epochs") is not None:
        count = "train_iter counts" if steps is not None else "the length is a number of steps, compression.steps"
        section.leave("epochs", f"passes over the images are not taken: {count}")
    _rate(section, steps, out)
    _optimizer(section.inside("optimizer_builder"), out)
    every, log = section.number("eval_iter", whole=True), section.number("logging_iter", whole=True)
    if every is not None:
        out.values["compression.eval_every"] = every
    if log is not None:
        out.values["compression.log_every"] = log
    if scored:
        out.values["compression.eval_by"] = "map"
    target = section.number("target_metric")
    if target is not None and target <= 1:
        out.values |= {"compression.eval_by": "map", "compression.target_map": round(100 * target, 10)}
    elif target is not None:
        section.leave("target_metric", f"{target:g} is not taken: a mAP from 0 to 1 is expected")
    section.expect("origin_metric", why="every run measures the mAP of FP32 itself")
    section.expect("sparse_model", False, why="nothing is pruned here")
    section.close()


def _rate(section: Section, steps: int | None, out: Translation) -> None:
    """A number is a constant rate; of the schedules there is the cosine."""
    rate = section.take("learning_rate")
    if rate is None:
        section.leave("learning_rate", "is not given; compression.lr has its default")
        return
    if not isinstance(rate, dict):
        constant = section.as_number("learning_rate", rate)
        out.values |= {"compression.lr": constant, "compression.lr_schedule": "constant"}
        return
    inside = Section(section.file, section.key("learning_rate"), rate, out)
    kind = inside.take("type")
    if kind != "CosineAnnealingDecay":
        section.leave("learning_rate", f"{kind!r} is not taken: there are a cosine (CosineAnnealingDecay) and a number")
        return
    if (highest := inside.number("learning_rate")) is not None:
        out.values["compression.lr"] = highest
    out.values["compression.lr_schedule"] = "cosine"
    half = inside.number("T_max")
    if half is not None and steps is not None:
        out.values["compression.cosine_length"] = half / steps
    elif half is not None:
        inside.leave("T_max", "is not taken without train_iter: compression.cosine_length is a multiple of the steps")
    inside.expect("eta_min", 0, why="the cosine's lowest rate is 0")
    inside.take("verbose")
    inside.close()


def _optimizer(section: Section, out: Translation) -> None:
    optimizer = section.inside("optimizer")
    optimizer.expect("type", "SGD", why="steps are those of SGD")
    optimizer.close()
    decay = section.take("weight_decay")
    regularizer = section.inside("regularizer")
    if regularizer.take("type") in ("L2Decay", "L2") and decay is None:
        decay = regularizer.take("coeff")
    regularizer.close()
    out.values["compression.weight_decay"] = (
        0.0 if decay is None else section.as_number("weight_decay", decay, least=0.0)
    )
    section.expect("grad_clip", why="gradients are not clipped")
    section.close()


def after_training(section: Section, out: Translation) -> None:
    """``PTQ`` of FastDeploy, ``QuantPost`` of ACT."""
    algorithm = section.take("calibration_method") or section.take("algo")
    if algorithm in ALGORITHMS:
        out.values["compression.ptq_algo"] = algorithm
    elif algorithm is not None:
        section.leave("algo", f"{algorithm!r} is not taken: there are {', '.join(ALGORITHMS)}")
    if (tensors := section.texts("skip_tensor_list")) is not None:
        out.values["compression.skip_tensor_list"] = tensors
    size, count = (section.number(key, whole=True) for key in ("batch_size", "batch_nums"))
    if count is not None:
        out.values["compression.calibration_images"] = (size or 32) * count  # ACT's default size
    elif size is not None:
        why = "without batch_nums all images are meant; say how many: compression.calibration_images"
        section.leave("batch_size", why)
    section.expect("hist_percent", PERCENT, why=f"hist leaves out {100 * (1 - PERCENT):.2g} % of the values")
    section.expect("activation_quantize_type", "range_abs_max", "moving_average_abs_max", why=RANGES_NOTE)
    _quantizers(section, out)
    for key in ("bias_correction", "bias_correct"):
        section.expect(key, False, why="biases are not corrected")
    section.expect("recon_level", why="weights are not reconstructed")
    for key in ("regions", "region_weights_names", "epochs", "lr", "simulate_activation_quant"):
        section.take(key)  # of that reconstruction
    section.close()
