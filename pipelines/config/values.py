"""What single values have to satisfy: ranges and names. A row per key; a test sees that no number lacks one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pipelines.config.keys import Problem, close_to, suggestion
from pipelines.config.schema import PipelineConfig


@dataclass(frozen=True)
class Rule:
    """A condition on one value, and how to say that it is not met; ``names`` are the values of a closed list."""

    holds: Callable[[Any], object]
    text: str
    names: tuple[str, ...] = ()


def at_least(bound: float) -> Rule:
    return Rule(lambda v: v >= bound, f"it must be at least {bound:g}")


def above(bound: float) -> Rule:
    return Rule(lambda v: v > bound, f"it must be more than {bound:g}")


def between(low: float, high: float) -> Rule:
    return Rule(lambda v: low <= v <= high, f"it must be between {low:g} and {high:g}")


def one_of(*names: str) -> Rule:
    return Rule(lambda v: v in names, "it must be one of " + ", ".join(names), names)


def numbers(count: int, rule: Rule) -> Rule:
    return Rule(
        lambda v: len(v) == count and all(rule.holds(x) for x in v),
        f"it must be {count} numbers, and for each: {rule.text}",
    )


POSITIVE, COUNT, SHARE = at_least(1), at_least(0), between(0, 1)
SIDE = Rule(lambda v: v >= 32 and v % 32 == 0, "it must be a multiple of 32 (the coarsest stride of the detector)")

RULES: dict[str, Rule] = {
    "model.input_size": numbers(2, SIDE),
    "model.mean": numbers(3, COUNT),
    "model.std": numbers(3, above(0)),
    "model.labels": Rule(lambda v: v and len(set(v)) == len(v), "it must name each class once"),
    "model.weights_sha256": Rule(lambda v: re.fullmatch("[0-9a-fA-F]{64}", v), "it must be 64 hexadecimal digits"),
    "model.interpolation": one_of("nearest", "linear", "cubic", "area"),
    "model.parameters": COUNT,
    "data.kind": one_of("coco", "coco_folder", "shapes"),
    "data.max_unreadable": SHARE,
    "data.shapes.train": POSITIVE,
    "data.shapes.unlabeled": POSITIVE,
    "data.shapes.val": POSITIVE,
    "data.shapes.size": numbers(2, at_least(32)),
    "data.shapes.seed": COUNT,
    "finetune.steps": POSITIVE,
    "finetune.batch": POSITIVE,
    "finetune.lr": above(0),
    "finetune.warmup_steps": COUNT,
    "finetune.weight_decay": COUNT,
    "finetune.static_steps": COUNT,
    "finetune.ema_decay": Rule(lambda v: 0 <= v < 1, "it must be at least 0 and less than 1"),
    "finetune.flip": SHARE,
    "finetune.color_jitter": SHARE,
    "finetune.crop": SHARE,
    "finetune.checkpoint_every": POSITIVE,
    "finetune.log_every": POSITIVE,
    "export.batch": POSITIVE,
    "export.opset": at_least(13),
    "export.agreement_images": POSITIVE,
    "export.max_difference": above(0),
    "compression.method": one_of("qat_distill", "ptq", "none"),
    "compression.steps": POSITIVE,
    "compression.batch": POSITIVE,
    "compression.processes": POSITIVE,
    "compression.images": POSITIVE,
    "compression.lr": above(0),
    "compression.weight_decay": COUNT,
    "compression.warmup_steps": COUNT,
    "compression.loss": one_of("soft_label", "l2", "detection", "features"),
    "compression.temperature": above(0),
    "compression.feature_weight": COUNT,
    "compression.activation_ranges": one_of("moving_average", "abs_max", "avg", "hist", "KL", "mse"),
    "compression.alpha": above(0),
    "compression.weight_quantize_type": one_of("channel_wise_abs_max", "abs_max"),
    "compression.quantize_op_types": Rule(len, "it must name at least one type of operator"),
    "compression.ptq_algo": one_of("abs_max", "avg", "hist", "KL", "mse"),
    "compression.calibration_images": POSITIVE,
    "compression.max_map_drop": COUNT,
    "compression.min_speedup": above(0),
    "compression.eval_every": POSITIVE,
    "compression.eval_by": one_of("loss", "map"),
    "compression.eval_images": POSITIVE,
    "compression.checkpoint_every": POSITIVE,
    "compression.log_every": POSITIVE,
    "sensitivity.labels": one_of("auto", "train", "val", "none"),
    "sensitivity.images": POSITIVE,
    "sensitivity.verdict_images": POSITIVE,
    "latency.warmup": COUNT,
    "latency.warmup_seconds": COUNT,
    "latency.runs": at_least(10),
    "latency.max_seconds": above(0),
    "latency.rounds": POSITIVE,
    "latency.images": POSITIVE,
    "latency.max_foreign": above(0),
    "latency.max_drift": above(0),
    "accuracy.nms.score_threshold": SHARE,
    "accuracy.nms.nms_threshold": SHARE,
    "accuracy.nms.nms_top_k": POSITIVE,
    "accuracy.nms.keep_top_k": POSITIVE,
    "accuracy.max_images": POSITIVE,
    "accuracy.check_detections": COUNT,
    "accuracy.draws": Rule(lambda v: v == 0 or v >= 100, "it must be at least 100, or 0 for no interval"),
    "accuracy.worst": COUNT,
    "agreement.images": COUNT,
    "agreement.score": SHARE,
    "agreement.score_slack": SHARE,
    "agreement.min_share_fp32": SHARE,
    "agreement.min_share_int8": SHARE,
    "agreement.min_iou_fp32": SHARE,
    "agreement.min_iou_int8": SHARE,
    "agreement.max_score_fp32": SHARE,
    "agreement.max_score_int8": SHARE,
    "gate.max_map_drop": COUNT,
    "gate.max_class_drop": COUNT,
    "gate.max_size_drop": COUNT,
    "gate.min_speedup": above(0),
    "gate.min_end2end_speedup": above(0),
    "gate.max_latency_ms": above(0),
    "gate.max_end2end_ms": above(0),
    "gate.max_engine_mb": above(0),
    "gate.min_int8_share": SHARE,
    "gate.champion.max_map_drop": COUNT,
    "gate.champion.max_class_drop": COUNT,
    "gate.champion.min_speedup": above(0),
    "gate.champion.min_end2end_speedup": above(0),
    "gate.champion.max_size_ratio": above(0),
    "tracking.timeout": above(0),
    "registry.golden": POSITIVE,
    "registry.name": Rule(lambda v: v and not set(v) & set("/:"), "it must be a name without / and :"),
    "retrain.watch.max_age_days": above(0),
    "retrain.min_images": POSITIVE,
    "retrain.min_share": SHARE,
    "retrain.drift": one_of("off", "warn", "refuse"),
    "retrain.drift_images": POSITIVE,
    "schedule.interval": at_least(1),
    "schedule.overlap": one_of("skip", "queue"),
    "schedule.catch_up": one_of("once", "skip"),
    "schedule.max_late": above(0),
    "schedule.retries": COUNT,
    "schedule.backoff": COUNT,
    "schedule.max_backoff": COUNT,
    "schedule.deadline": above(0),
    "schedule.grace": COUNT,
    "schedule.resumes": COUNT,
    "schedule.keep_logs": COUNT,
    "schedule.notify.timeout": above(0),
    "run.stage_timeout": above(0),
    "run.stage_retries": COUNT,
    "run.timing_alone": one_of("device", "host"),
    "seed": COUNT,
    "threads": POSITIVE,
}


def check_values(config: PipelineConfig) -> list[Problem]:
    """The values that break their rule; ``None`` means that nothing was set."""
    problems: list[Problem] = []
    for key, rule in RULES.items():
        value = reduce(lambda node, name: getattr(node, name), key.split("."), config)  # type: ignore[arg-type,return-value]
        if value is not None and not rule.holds(value):
            meant = close_to(str(value), rule.names) if rule.names else []
            problems.append(Problem(key, f"{value!r} does not fit; {rule.text}{suggestion(meant)}"))
    return problems
