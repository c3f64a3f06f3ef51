"""What ``profile.json`` holds (see `stages/profiling/profile.py`), and what a report keeps of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Part(TypedDict):
    """Milliseconds of a run, share of the sum of all layers, and how many layers."""

    ms: float
    share: float
    layers: int


class Convolutions(Part):
    """All layers that multiply, those of head and tail too; ``of_peak`` is null where the peak is not known."""

    multiply_adds: int
    of_peak: float | None


class ShapeTime(Convolutions):
    """Convolutions of one shape and number format."""

    shape: str
    format: str


class LayerTime(TypedDict):
    name: str
    kind: str
    group: str
    ms: float
    share: float
    shape: NotRequired[str]
    format: NotRequired[str | None]


class MeasuredProfile(TypedDict):
    """Of one engine, or why there is none (``none``, alone)."""

    none: NotRequired[str]
    profiler: NotRequired[str]
    runs: NotRequired[int]
    run_ms: NotRequired[float]
    sum_ms: NotRequired[float]
    groups: NotRequired[dict[str, Part]]
    kinds: NotRequired[dict[str, Part]]
    convolutions: NotRequired[Convolutions]
    shapes: NotRequired[list[ShapeTime]]
    peak: NotRequired[dict[str, float]]
    peak_by: NotRequired[dict[str, str]]
    layers: NotRequired[list[LayerTime]]
    validity: NotRequired[dict[str, Any]]


class ProfileContent(TypedDict):
    schema_version: int
    backend: str
    threads: int
    affinity: list[int]
    batch: int
    engines: dict[str, MeasuredProfile]


class EngineProfile(TypedDict):
    """Of one engine, for ``report.json``: the longest shapes and layers only.

    ``over_latency`` is the sum of the layers / the median Runtime of the same engine without a profiler; null where it
    was not timed. ``verdict`` is that of a timing.
    """

    backend: str
    precision: str
    profiler: str
    runs: int
    threads: int
    run_ms: float
    sum_ms: float
    over_latency: float | None
    verdict: str
    groups: dict[str, Part]
    kinds: dict[str, Part]
    convolutions: Convolutions
    shapes: list[ShapeTime]
    peak: dict[str, float]
    peak_by: dict[str, str]
    layers: list[LayerTime]


class NoProfile(TypedDict):
    backend: str
    precision: str
    reason: str


class Profiles(TypedDict):
    """The engines of a report that were profiled, and those that were not."""

    engines: list[EngineProfile]
    without: list[NoProfile]
