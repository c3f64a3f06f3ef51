"""What ``latency.json`` holds (see `stages/latency/latency.py`), and the audit among an engine's notes (see
`stages/numerics/audit.py` and `stages/build/reasons.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Bounds(TypedDict):
    """A ratio of medians, its 95 % interval (none from a single round), and whether it can be believed (absent from
    timings of before ratios had verdicts)."""

    median: float
    low: float | None
    high: float | None
    verdict: NotRequired[str]


class Ratio(Bounds):
    """See `stages/latency/ratio.py`."""

    rounds: list[float]
    by_cpu: NotRequired[float | None]
    taken: NotRequired[float]


class OverFloat(Bounds):
    """Over the fastest float engine; ``against`` is its variant (in `Ship` also its backend)."""

    against: str


class TimingValidity(TypedDict):
    """See `stages/latency/validity.py`."""

    verdict: str
    cells: dict[str, str]
    foreign_share: float | None
    waited_share: float | None
    drift: float | None
    clock_drop: float | None
    involuntary_switches: int | None
    energy_mj: float | None
    gpu_energy_mj: float | None
    gpu: NotRequired[dict[str, object] | None]


class Warmup(TypedDict):
    runs: int
    seconds: float
    stable: bool | None


class ModeLatency(TypedDict):
    """Milliseconds per run of one engine in one mode."""

    count: int
    mean_ms: float
    median_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    std_ms: float
    cv: float
    min_ms: float
    max_ms: float
    images_per_s: float | None
    rounds_ms: list[float]
    warmup: Warmup
    validity: TimingValidity


class Parts(TypedDict, total=False):
    """Medians within End2End; the last three on a GPU only, timed one by one."""

    preprocess_ms: float
    engine_ms: float
    nms_ms: float
    host_to_device_ms: float
    compute_ms: float
    device_to_host_ms: float


class Memory(TypedDict):
    peak_mb: float | None
    engine_mb: float | None


class ColdStart(TypedDict):
    import_s: float
    load_s: float
    first_inference_s: float


class EngineLatency(TypedDict):
    cold_start: ColdStart
    runtime: ModeLatency
    end2end: ModeLatency
    parts: Parts
    memory: Memory


class LatencyContent(TypedDict):
    schema_version: int
    backend: str
    threads: int
    affinity: list[int]
    batch: int
    warmup: int
    rounds: int
    nms_in: str
    engines: dict[str, EngineLatency]
    speedup: NotRequired[dict[str, Ratio]]
    over_fp32: NotRequired[dict[str, dict[str, Ratio]]]
    over_best_float: NotRequired[dict[str, dict[str, OverFloat]]]
    against: NotRequired[dict[str, dict[str, Ratio]]]


class FloatLayer(TypedDict):
    name: str
    kind: str
    format: str
    share: float
    reason: NotRequired[str]


class Devices(TypedDict):
    """Nodes by ONNX Runtime's provider, and by operator those that did not run where they were asked to."""

    nodes: dict[str, int]
    elsewhere: dict[str, dict[str, int]]
    copies: int


class Inspected(TypedDict):
    """What TensorRT's engine inspector told: layers, those that stand for several, and how many take each format."""

    layers: int
    fused: int
    formats: dict[str, int]


class Audit(TypedDict):
    int8_share: float
    share: dict[str, float]
    multiply_adds: int
    layers: dict[str, int]
    float_layers: list[FloatLayer]
    read_from: NotRequired[str]
    devices: NotRequired[Devices]
    inspected: NotRequired[Inspected]
