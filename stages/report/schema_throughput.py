"""What ``throughput.json`` holds; see `stages/throughput/throughput.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from stages.report.schema_engines import OverFloat, Ratio, TimingValidity

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Tried(TypedDict):
    """A shape under closed-loop load, in the search."""

    streams: int
    threads: int
    images_per_s: float
    p50_ms: float
    p99_ms: float
    requests: int


class ScenarioThroughput(TypedDict):
    """One engine in one scenario; the milliseconds are of a request, that is of a batch."""

    streams: int
    threads: int
    images_per_s: float
    rounds_images_per_s: list[float]
    requests: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    window: int
    validity: TimingValidity
    p99_validity: str
    within: NotRequired[bool]
    arriving_per_s: NotRequired[float]


class PeakMemory(TypedDict):
    peak_mb: float | None


class EngineThroughput(TypedDict):
    tried: list[Tried]
    memory: PeakMemory
    offline: ScenarioThroughput
    multi_stream: ScenarioThroughput | None
    server: ScenarioThroughput | None


class ThroughputContent(TypedDict):
    schema_version: int
    backend: str
    affinity: list[int]
    batch: int
    not_offered: str | None
    budget_ms: float | None
    budget_from: str
    engines: dict[str, EngineThroughput]
    over_fp32: dict[str, dict[str, Ratio]]
    over_best_float: dict[str, dict[str, OverFloat]]
