"""What ``accuracy.json``, ``compare.json`` (see `stages/accuracy`) and ``agreement.json`` (`stages/agreement`) hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Difference(TypedDict):
    """A difference and the bounds of its 95 % interval, which are null without draws."""

    value: float
    low: float | None
    high: float | None


class ClassDifference(TypedDict):
    """Of one class; all null where the class has no boxes."""

    name: str
    boxes: int
    value: float | None
    low: float | None
    high: float | None


class ClassAccuracy(TypedDict):
    """``AP`` and ``AP50`` from 0 to 1; null without boxes."""

    name: str
    AP: float | None
    AP50: float | None
    boxes: int


class Scores(TypedDict):
    """COCO's metrics from 0 to 1, and what they were computed on."""

    images: int
    images_without_boxes: int
    boxes: int
    detections: int
    AP: float | None
    AP50: float | None
    AP75: float | None
    AP_small: float | None
    AP_medium: float | None
    AP_large: float | None
    AR_1: float | None
    AR_10: float | None
    AR_100: float | None
    AR_small: float | None
    AR_medium: float | None
    AR_large: float | None
    per_class: list[ClassAccuracy]
    checked: bool


class AccuracyContent(Scores):
    """``map``, ``map50`` and ``map75`` in points."""

    schema_version: int
    backend: str
    precision: str
    model_labels: list[str]
    map: float | None
    map50: float | None
    map75: float | None
    nms: dict[str, Any]


class CalibrationBin(TypedDict("CalibrationBin", {"from": float})):
    count: int
    score: float
    hits: float


class Calibration(TypedDict):
    error: float | None
    bins: list[CalibrationBin]


class ScoreShift(TypedDict):
    boxes: int
    mean: float | None
    std: float | None
    p5: float | None
    p50: float | None
    p95: float | None


class Calibrations(TypedDict):
    base: Calibration
    other: Calibration
    shift: ScoreShift


class ImageLoss(TypedDict):
    mean: float
    worse: int
    better: int


class WorstImage(TypedDict):
    image_id: int
    file_name: str
    base_f1: float
    other_f1: float
    loss: float
    picture: str


class CompareContent(TypedDict):
    schema_version: int
    backend: str
    base: str
    other: str
    images: int
    draws: int
    confidence: float
    difference: dict[str, Difference | None]
    per_class: list[ClassDifference]
    threshold: float
    calibration: Calibrations
    image_loss: ImageLoss
    worst: list[WorstImage]
    typical: NotRequired[list[WorstImage]]
    """Absent from what earlier versions wrote."""
    seconds: float


class EngineAgreement(TypedDict):
    backend: str
    precision: str
    boxes: int
    share: float
    iou: float | None
    score_difference: float | None
    largest_score_difference: float | None
    bounds: dict[str, float]
    verdict: str
    reason: str | None


class AgreementContent(TypedDict):
    schema_version: int
    images: int
    score: float
    names: list[str]
    f1: list[list[float]]
    engines: list[EngineAgreement]
