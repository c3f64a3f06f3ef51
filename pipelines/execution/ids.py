"""The ids of a graph's nodes, made and taken apart in one place.

An id is a kind, then what tells nodes of that kind apart, joined by dots: ``build.onnxruntime.int8``. A variant that
differs from another in how it is opened only has no engine of its own, so its id is that of the engine. Ids stand in
``run.json``, in the names of logs and in MLflow, so they stay as they are. The graph is put together in
``pipelines/graph``, but the runs' folders and the tracking below it read ids too: hence this place, under all of them.
"""

from __future__ import annotations

from collections.abc import Iterable

from stages.numerics.variants import VARIANTS, engine_of

DRAW = "draw"
CONVERT = "convert"
IMAGES = "images.unlabeled"
CALIBRATION = "images.calibration"
LIGHTEN_IMAGES = "images.lighten"
FINETUNE = "finetune"
LIGHTEN = "lighten"
TEACHER = "export.teacher"
"""The larger model that the student learns from, as it is exported; no result of the run's own model."""
DISTILL = "distill"
SEARCH = "search"
SENSITIVITY = "sensitivity"
FLOAT_BLOCKS = "float_blocks"
DETECT_REFERENCE = "detect.reference"
AGREEMENT = "agreement"
REPORT = "report"

# Of the judgement beside the champion.
DRIFT = "drift"
SUMMARY = "summary"
"""What the images of a run are like, for the next one's ``DRIFT``."""
DUEL_LATENCY = "duel.latency"
JUDGE = "judge"

# Results that no stage of the run makes.
CHAMPION_ENGINE = "champion.engine"
CHAMPION_IMAGES = "champion.images"
WEIGHTS = "model.weights"
"""Weights that are not on this machine yet."""

_STAGES = {"labels": "collect_labeled", "images": "collect_unlabeled", SUMMARY: "drift"}
"""Kind -> stage, where the two are not called the same."""
_OTHERS = ("duel", "champion", "model")
"""Kinds that say who is meant, not which stage."""


def labels(split: str) -> str:
    """The labelled set ``train`` or ``val``."""
    return f"labels.{split}"


LABELS_TRAIN, LABELS_VAL = labels("train"), labels("val")


def export(precision: str) -> str:
    """The exported model that a variant is built from, ``fp32`` or ``int8``."""
    return f"export.{VARIANTS[precision].weights.value}"


def build(backend: str, precision: str) -> str:
    """The engine of a variant."""
    return f"build.{backend}.{engine_of(precision)}"


def latency(backend: str) -> str:
    """The times of all engines of a backend."""
    return f"latency.{backend}"


def profile(backend: str) -> str:
    """Where the time of a backend's engines goes."""
    return f"profile.{backend}"


def throughput(backend: str) -> str:
    """The images a second of all engines of a backend."""
    return f"throughput.{backend}"


def accuracy(backend: str, precision: str) -> str:
    """The mAP of a variant's engine."""
    return f"accuracy.{backend}.{engine_of(precision)}"


def compare(backend: str, precision: str = "int8") -> str:
    """What another variant costs beside FP32 on a backend."""
    return f"compare.{backend}" if engine_of(precision) == "int8" else f"compare.{backend}.{engine_of(precision)}"


def detect(backend: str) -> str:
    """Detections of a backend's engines, to be compared with those of ``DETECT_REFERENCE``."""
    return f"detect.{backend}"


def thresholds(backend: str) -> str:
    """FP32's thresholds, moved to a backend's other engines."""
    return f"thresholds.{backend}"


def bundle(backend: str, precision: str) -> str:
    """A variant, packed."""
    return f"bundle.{backend}.{precision}"


def duel_accuracy(name: str) -> str:
    """The mAP of one of the engines that are measured side by side (``fp32``, ``champion``, ``challenger``)."""
    return f"duel.accuracy.{name}"


def duel_compare(name: str) -> str:
    """The challenger beside another of those engines."""
    return f"duel.compare.{name}"


def stage_of(node: str) -> str | None:
    """The stage that a node of this id runs; ``None`` for a duel's nodes and for what no stage makes."""
    kind = node.partition(".")[0]
    return None if kind in _OTHERS else _STAGES.get(kind, kind)


def engines(nodes: Iterable[str]) -> list[tuple[str, str]]:
    """Backend and variant of the engines among ``nodes``, in their order."""
    prefix = "build."
    built = [node.removeprefix(prefix).rpartition(".") for node in nodes if node.startswith(prefix)]
    return [(backend, precision) for backend, _, precision in built]


def set_name(node: str) -> str:
    """What the images that a node collects are to the run: ``train``, ``val``, ``unlabeled`` or ``calibration``."""
    return node.rpartition(".")[2]
