"""What a run's folder says, read back: ``run.json`` and ``report.json``, of this version or an earlier one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stages.errors import InputError
from stages.outside import records
from stages.report.schema import ReportContent
from stages.report.schema_throughput import ThroughputContent

if TYPE_CHECKING:
    from typing_extensions import NotRequired

RUN, REPORT = "run.json", "report.json"


class StageState(TypedDict, total=False):
    """How a stage of a run ended; ``entry``, ``digest`` and ``files`` name its result, ``because`` what it lacked."""

    status: str
    entry: str
    digest: str
    files: str
    seconds: float
    error: str
    because: str


class RunState(TypedDict, total=False):
    """``run.json``; one that an earlier version wrote may lack keys."""

    schema_version: int
    run_id: str
    pipeline: str
    model: str
    data: str
    status: str
    started: str
    seconds: float
    resumed_from: str | None
    config_digest: str
    seed: int | None
    folder: str
    store: str | None
    command: str
    commit: str | None
    hardware: str
    driver: str | None
    python: str
    paddle_python: str | None
    versions: dict[str, str]
    stages: dict[str, StageState]
    timed_in: dict[str, str]
    warnings: list[str]


class _Latency(TypedDict):
    median_ms: float
    rounds_ms: NotRequired[list[float]]


class _Latencies(TypedDict):
    runtime: _Latency | None
    end2end: _Latency | None


class _Numbers(TypedDict):
    runtime: float | None


class _Intervals(TypedDict):
    runtime: list[float] | None


class _Verdicts(TypedDict):
    runtime: str | None
    end2end: str | None


class _Row(TypedDict):
    backend: str
    precision: str
    latency: _Latencies
    speedup: _Numbers
    speedup_interval: _Intervals
    validity: _Verdicts
    map: float | None


class _TrendRow(_Row):
    status: str
    engine_bytes: int | None


class _ListedRow(TypedDict):
    precision: str
    status: str


class TrendReport(TypedDict):
    """What a trend is made of."""

    run_id: str
    model: str
    data: str
    hardware: str
    rows: list[_TrendRow]


class _PromisedRow(TypedDict):
    backend: str
    precision: str
    latency: _Latencies
    map: float | None
    map50: float | None


class PromisedReport(TypedDict):
    """What a bundle promises."""

    rows: list[_PromisedRow]
    throughput: NotRequired[list[ThroughputContent]]


class ListedReport(TypedDict):
    """What a list of runs takes from a report, so that it has to be there."""

    rows: list[_ListedRow]


class ComparedReport(TypedDict):
    """What runs are compared by."""

    run_id: str
    model: str
    data: str
    hardware: str
    rows: list[_Row]


def require_state(run_dir: Path, *needs: str) -> RunState:
    """What ``run.json`` says.

    Args:
        needs: keys that have to be there.

    Raises:
        InputError: there is none, it cannot be read, or a key is missing.
    """
    path = run_dir / RUN
    try:
        state: RunState = records.read(path, RunState)
    except FileNotFoundError as error:
        raise InputError(f"{run_dir} has no {RUN}; name a run that `detpress runs` lists") from error
    if missing := [key for key in needs if key not in state]:
        raise InputError(f"{path} cannot be read: {missing[0]} is missing; it was written by another version")
    return state


def read_state(run_dir: Path) -> RunState | None:
    """What ``run.json`` says; ``None`` if there is none or it cannot be read, where it is one of many in a list."""
    try:
        return require_state(run_dir)
    except InputError:
        return None


def require_report(run_dir: Path, needs: type = ComparedReport) -> ReportContent:
    """The ``report.json`` in a run's folder.

    Args:
        needs: what has to be there; the rest may be missing, and has to be of the right types.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = run_dir / REPORT
    try:
        content: Any = records.read(path, ReportContent, lenient=True)
        records.conform(content, needs)
    except FileNotFoundError as error:
        state = read_state(run_dir) or {}
        kind = state.get("pipeline")
        if state.get("status") == "FINISHED" and kind in ("promote", "sensitivity", "finetune", "size"):
            raise InputError(
                f"{run_dir} is of `detpress {kind}`, which measures no table of engines; name a run of compress or "
                "retrain"
            ) from error
        raise InputError(f"{run_dir} has no {REPORT}: the run did not get that far; run its command again") from error
    except ValueError as error:
        raise InputError(f"{path} cannot be read: {error}; run the run's command again") from error
    report: ReportContent = content
    return report


def read_report(run_dir: Path, needs: type = ComparedReport) -> ReportContent | None:
    """The ``report.json`` in a run's folder; ``None`` if there is none or it cannot be read, as of `read_state`."""
    try:
        return require_report(run_dir, needs)
    except InputError:
        return None
