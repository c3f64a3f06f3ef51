"""What a list of runs shows of one: read from its folder, or from the index beside the runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from pipelines.runs import history
from pipelines.runs.index import Index, Made
from pipelines.runs.remembered import REPORT, ListedReport
from stages.errors import InputError
from stages.numerics.variants import is_float
from stages.outside import records
from stages.report import marks
from stages.report.gates import NOT_JUDGED, PASS
from stages.report.schema import Row

KIND = "listed"


class Listed(TypedDict):
    """Of one run; null for what it does not have (yet). ``status`` is what ``run.json`` says."""

    started: Any
    pipeline: Any
    model: Any
    data: Any
    status: Any
    gates: list[int] | None
    gates_not_judged: int
    resumed_from: Any
    map_fp32: float | None
    map: float | None
    speedup: float | None
    speedup_verdict: Any
    engine_bytes: Any
    backend: Any


def listed(folder: Path, index: Index) -> Listed:
    """What the index knows of a run, or the run's folder."""
    content: Listed = index.get(folder, KIND, Listed, read)
    return content


def read(folder: Path) -> Made:
    """What the run's folder says."""
    state: history.RunState = history.read_state(folder) or {}
    report = history.read_report(folder, ListedReport)
    rows = [r for r in report.get("rows", []) if r["status"] == "ok"] if report else []
    fast = [r for r in rows if _speedup(r) is not None]
    quantized = [r for r in fast if not is_float(r["precision"])]
    best = max(quantized or fast, key=lambda r: _speedup(r) or 0.0, default=None)
    base = next((r for r in rows if r["precision"] == "fp32"), None)
    gates, unjudged, judged = _gates(folder, report)
    content: Listed = {
        "started": state.get("started"),
        "pipeline": state.get("pipeline"),
        "model": state.get("model") or (report and report.get("model")),
        "data": state.get("data") or (report and report.get("data")),
        "status": state.get("status", "?"),
        "gates": gates,
        "gates_not_judged": unjudged,
        "resumed_from": state.get("resumed_from"),
        "map_fp32": None if base is None else base.get("map"),
        "map": None if best is None else best.get("map"),
        "speedup": None if best is None else _speedup(best),
        "speedup_verdict": None if best is None else marks.speedup(best, "runtime"),
        "engine_bytes": None if best is None else best.get("engine_bytes"),
        "backend": None if best is None else best.get("backend"),
    }
    return Made(content, is_final(folder, state, report) and judged)


def is_final(folder: Path, state: Mapping[str, Any], report: object) -> bool:
    """Whether what was read of a run may be kept: it is over, and no file of it was unreadable."""
    over = state.get("status") not in (None, history.RUNNING)
    return over and (report is not None or not (folder / REPORT).exists())


def _gates(folder: Path, report: Mapping[str, Any] | None) -> tuple[list[int] | None, int, bool]:
    """How many gates hold, and of how many: those against the champion if there are, else the report's; how many
    could not be judged, because the timing was disturbed; and whether the file of those against the champion could be
    read, if there is one."""
    readable = True
    try:
        content = records.read(folder / "promotion.json")
    except FileNotFoundError:
        content = report
    except (OSError, InputError):
        content, readable = report, False
    gates = content.get("gates") if isinstance(content, Mapping) else None
    if not gates:
        return None, 0, readable
    passed, unjudged = (sum(gate.get("verdict") == verdict for gate in gates) for verdict in (PASS, NOT_JUDGED))
    return [passed, len(gates)], unjudged, readable


def _speedup(row: Row) -> float | None:
    return row.get("speedup", {}).get("runtime")
