"""``detpress runs``: the runs of an artifacts folder, one line each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from pipelines.retraining.journal import PROMOTED, Journal
from pipelines.runs import history
from pipelines.runs.remembered import ListedReport
from pipelines.runs.tables import stdout_console
from pipelines.system.arguments import Parser
from pipelines.system.run_lock import is_alive
from pipelines.system.times import age
from pipelines.system.units import size
from stages.errors import ExitCode, InputError
from stages.numerics.variants import is_float
from stages.outside import records
from stages.outside.text import plain
from stages.report import marks
from stages.report.gates import NOT_JUDGED, PASS
from stages.report.schema import Row

_COLORS = {history.FINISHED: "green", history.FAILED: "red", history.KILLED: "yellow", history.RUNNING: "cyan"}
_WORDS = {history.FAILED: "failed", history.KILLED: "interrupted", history.RUNNING: "running"}
_GAP = 2


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the table, newest first."""
    parser = Parser(
        prog="detpress runs",
        description="The runs of this folder, newest first. The end of an id that the table shows names the run in "
        "every command.",
    )
    parser.add_argument("--last", type=int, metavar="N", help="only the newest N")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts)
    promoted = {str(line.get("run_id")) for line in Journal(artifacts).lines() if line.get("outcome") == PROMOTED}
    rows = [row(folder, promoted) for folder in history.folders(artifacts)[: options.last]]
    if options.json:
        print(json.dumps({"schema_version": 1, "runs": rows}, indent=1))
    elif not rows:
        print(f"there are no runs under {(artifacts / 'runs').resolve()}")
    else:
        _print(rows, history.short_ids(artifacts))
    return ExitCode.DONE


def row(folder: Path, promoted: set[str] | None = None) -> dict[str, Any]:
    """What the table shows of one run; ``None`` for what it does not have (yet).

    Args:
        promoted: the runs whose engines retraining made the champion.
    """
    state: history.RunState = history.read_state(folder) or {}
    status = state.get("status", "?")
    if status == history.RUNNING and not is_alive(folder):
        status = history.KILLED
    report = history.read_report(folder, ListedReport)
    rows = [r for r in report.get("rows", []) if r["status"] == "ok"] if report else []
    fast = [r for r in rows if _speedup(r) is not None]
    quantized = [r for r in fast if not is_float(r["precision"])]
    best = max(quantized or fast, key=lambda r: _speedup(r) or 0.0, default=None)
    base = next((r for r in rows if r["precision"] == "fp32"), None)
    gates, unjudged = _gates(folder, report)
    return {
        "id": folder.name,
        "started": state.get("started"),
        "pipeline": state.get("pipeline"),
        "model": state.get("model") or (report and report.get("model")),
        "data": state.get("data") or (report and report.get("data")),
        "status": status,
        "outcome": _outcome(status, state.get("pipeline"), gates, unjudged, promoted=folder.name in (promoted or ())),
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


def _gates(folder: Path, report: Mapping[str, Any] | None) -> tuple[list[int] | None, int]:
    """How many gates hold, and of how many: those against the champion if there are, else the report's; and how many
    could not be judged, because the timing was disturbed."""
    try:
        content = records.read(folder / "promotion.json")
    except (OSError, InputError):
        content = report
    gates = content.get("gates") if isinstance(content, Mapping) else None
    if not gates:
        return None, 0
    passed, unjudged = (sum(gate.get("verdict") == verdict for gate in gates) for verdict in (PASS, NOT_JUDGED))
    return [passed, len(gates)], unjudged


def _outcome(status: str, pipeline: str | None, gates: Sequence[int] | None, unjudged: int, *, promoted: bool) -> str:
    """``gates 9/12``, ``promoted``, ``interrupted``, ... ; ``done`` where there was nothing to judge."""
    if status != history.FINISHED:
        return _WORDS.get(status, status)
    if promoted or (pipeline == "promote" and (gates is None or gates[0] == gates[1])):
        return "promoted"
    if gates is None:
        return "done"
    return f"gates {gates[0]}/{gates[1]}" + (f", {unjudged} not judged" if unjudged else "")


def _speedup(row: Row) -> float | None:
    return row.get("speedup", {}).get("runtime")


def _print(rows: Sequence[Mapping[str, Any]], short: Mapping[str, str]) -> None:
    """The columns that fit the width, the most telling first; what is the same in every row is said below."""
    console = stdout_console(200)
    columns = {
        "run": [short.get(r["id"], r["id"]) for r in rows],
        "age": [age(r["started"]) for r in rows],
        "kind": [r["pipeline"] or "" for r in rows],
        "model": [plain(r["model"] or "") for r in rows],
        "data": [plain(r["data"] or "") for r in rows],
        "outcome": [r["outcome"] for r in rows],
        "mAP FP32": [_number(r["map_fp32"], 1) for r in rows],
        "INT8": [_number(r["map"], 1) for r in rows],
        "speed-up": [_number(r["speedup"], 2, "x" + marks.star(r["speedup_verdict"])) for r in rows],
        "engine": [size(r["engine_bytes"]) for r in rows],
        "backend": [r["backend"] or "" for r in rows],
    }
    columns = {name: [plain(text) for text in cells] for name, cells in columns.items()}
    same = {n: columns[n][0] for n in ("model", "data", "backend") if len(rows) > 1 and len(set(columns[n])) == 1}
    room, chosen = console.width, set()
    for name in _BY_WEIGHT:
        width = max(cell_len(text) for text in (name, *columns[name])) + _GAP
        if name not in same and any(columns[name]) and (width <= room or name == "run"):
            room -= width
            chosen.add(name)
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0))
    for name in columns:
        if name in chosen:
            table.add_column(name, justify="right" if name in _NUMBERS else "left", no_wrap=True, overflow="ignore")
    for i, r in enumerate(rows):
        style = "red" if r["gates"] and r["gates"][0] < r["gates"][1] else _COLORS.get(r["status"], "")
        cells = [Text(plain(columns[n][i]), style if n == "outcome" else "") for n in columns if n in chosen]
        table.add_row(*cells)
    console.print(table)
    notes = [f"{name}: {value}" for name, value in same.items() if value]
    hidden = [name for name in columns if name not in chosen and name not in same and any(columns[name])]
    if hidden:
        notes.append(f"in a wider terminal also: {', '.join(hidden)}")
    if "speed-up" in chosen and not all(marks.is_valid(r["speedup_verdict"]) for r in rows):
        notes.append(marks.LEGEND)
    if notes:
        console.print(plain("; ".join(notes)), soft_wrap=True, markup=False)


_NUMBERS = ("mAP FP32", "INT8", "speed-up", "engine")
_BY_WEIGHT = ("run", "outcome", "age", "kind", "mAP FP32", "INT8", "speed-up", "model", "data", "engine", "backend")


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "" if value is None else f"{value:.{digits}f}{unit}"
