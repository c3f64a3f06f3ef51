"""What ``report.json`` holds; see `stages/report/report.py` and, for its rows, `stages/report/rows.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from stages.report.schema_accuracy import AgreementContent, ClassDifference, Difference, EngineAgreement, Scores
from stages.report.schema_blocks import FloatBlocksContent
from stages.report.schema_engines import Audit, Bounds, Memory, ModeLatency, OverFloat, Parts
from stages.report.schema_profile import Profiles
from stages.report.schema_search import SearchContent
from stages.report.schema_thresholds import ThresholdsContent
from stages.report.schema_throughput import ThroughputContent

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Failure(TypedDict):
    """A result that is missing, as the pipeline hands it to the report."""

    stage: str
    backend: NotRequired[str | None]
    precision: NotRequired[str | None]
    error: NotRequired[str]
    status: NotRequired[str]


class GateVerdict(TypedDict):
    """See `stages/report/gates.py`."""

    gate: str
    backend: str
    precision: str
    limit: float
    value: float | None
    of: str
    margin: float | None
    verdict: str
    reason: str | None


class LeftOut(TypedDict):
    """A variant that a backend or this machine does not have."""

    backend: str
    precision: str
    reason: str


class TableContent(TypedDict):
    title: str
    header: list[str]
    rows: list[list[str]]


class Row(TypedDict):
    """One engine: what `stages/report/rows.py` describes."""

    backend: str
    precision: str
    hardware: str
    status: str
    failed_stages: list[str]
    latency: dict[str, ModeLatency | None]
    validity: dict[str, str | None]
    speedup: dict[str, float | None]
    speedup_interval: dict[str, list[float] | None]
    speedup_validity: NotRequired[dict[str, str | None]]
    """Absent from reports that were written before ratios had verdicts."""
    over_float: NotRequired[dict[str, OverFloat | None]]
    """Absent from reports that were written before there were variants."""
    difference: dict[str, Difference]
    class_differences: list[ClassDifference]
    error: str | None
    map: float | None
    map50: float | None
    map75: float | None
    map_drop: float | None
    accuracy: Scores | None
    engine_bytes: int | None
    build_seconds: float | None
    threads: int | None
    batch: int | None
    load_s: float | None
    nms_in: str | None
    int8_share: float | None
    parts: Parts | None
    memory: Memory | None
    audit: Audit | None
    matches: str | None
    agreement: EngineAgreement | None


class ChallengerRow(Row):
    """A challenger's row whose differences, speed-ups and verdicts are those against the champion."""

    size_ratio: float
    ratio: dict[str, Bounds]


class Ship(TypedDict):
    """Which engine to ship, see `stages/report/ship.py`."""

    backend: str
    precision: str
    runtime_ms: float
    over_fp32: Bounds | None
    over_best_float: OverFloat | None
    drop: float | None
    sentence: str


class ModelSize(TypedDict):
    """Of the exported FP32 model: weights that it learned, and multiply-adds of one run on one image."""

    parameters: int
    multiply_adds: int | None
    input_size: list[int]


class CurvePoint(TypedDict):
    step: int
    value: float


class Training(TypedDict):
    """A stage that trained: its loss and, where it was scored meanwhile, those scores (``what``: ``eval_loss`` or
    ``eval_map``) and the step that was kept."""

    stage: str
    method: str
    steps: int
    images: int | None
    loss: list[CurvePoint]
    what: str | None
    scores: list[CurvePoint]
    best: int | None


class LightContent(TypedDict):
    """``light.json``, see `stages/lightening/lighten.py`; ``parameters`` before and now, as ``multiply_adds`` of an
    image, which are null where no channel was taken away."""

    schema_version: int
    activation: str
    exchanged: int
    kept: int
    prune: float | None
    parameters: list[int]
    multiply_adds: list[int] | None
    steps: int
    best: int
    images: int


class StageTime(TypedDict):
    """``seconds`` that its computation took, in an earlier run where ``cached``."""

    stage: str
    seconds: float
    cached: bool


class ImageSet(TypedDict):
    """Images that the run worked on; ``boxes`` is null of images without labels."""

    name: str
    images: int
    boxes: int | None


class ReportContent(TypedDict):
    schema_version: int
    status: str
    run_id: str
    model: str
    data: str
    command: str
    commit: str | None
    hardware: str
    method: str
    seed: int
    rows: list[Row]
    gates: list[GateVerdict]
    agreement: AgreementContent | None
    float_blocks: FloatBlocksContent | None
    failures: list[Failure]
    left_out: NotRequired[list[LeftOut]]
    ship: NotRequired[Ship | None]
    tables: dict[str, TableContent]
    timed_in: NotRequired[dict[str, str]]
    size: NotRequired[ModelSize | None]
    """Absent, as are those below, from reports that earlier versions wrote."""
    training: NotRequired[list[Training]]
    profiles: NotRequired[Profiles]
    """Of a run that profiled its engines."""
    search: NotRequired[SearchContent]
    """Of ``compression=auto`` only."""
    thresholds: NotRequired[list[ThresholdsContent]]
    """Of a run whose config names thresholds only."""
    throughput: NotRequired[list[ThroughputContent]]
    """Of ``latency=server`` only, a backend each."""
    lightened: NotRequired[LightContent]
    """Where INT8 is of a lighter model."""
    stages: NotRequired[list[StageTime]]
    """Of the file of a run only, as are its ``images``."""
    images: NotRequired[list[ImageSet]]
