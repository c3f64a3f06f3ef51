"""``detpress runs``: the runs of an artifacts folder, one line each."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from pipelines.runs import history
from pipelines.runs.remembered import ListedReport
from pipelines.runs.tables import stdout_console
from pipelines.system.run_lock import is_alive
from pipelines.system.units import size
from stages.errors import ExitCode
from stages.outside.text import plain
from stages.report.schema import Row

_COLORS = {history.FINISHED: "green", history.FAILED: "red", history.KILLED: "yellow", history.RUNNING: "cyan"}


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the table, newest first."""
    parser = argparse.ArgumentParser(prog="detpress runs", description="The runs of this folder, newest first.")
    parser.add_argument("--last", type=int, metavar="N", help="only the newest N")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts)
    rows = [row(folder) for folder in history.folders(artifacts)[: options.last]]
    if options.json:
        print(json.dumps({"schema_version": 1, "runs": rows}, indent=1))
    elif not rows:
        print(f"there are no runs under {(artifacts / 'runs').resolve()}")
    else:
        _print(rows)
    return ExitCode.DONE


def row(folder: Path) -> dict[str, Any]:
    """What the table shows of one run; ``None`` for what it does not have (yet)."""
    state: history.RunState = history.read_state(folder) or {}
    status = state.get("status", "?")
    if status == history.RUNNING and not is_alive(folder):
        status = history.KILLED
    report = history.read_report(folder, ListedReport)
    rows = [r for r in report.get("rows", []) if r["status"] == "ok"] if report else []
    best = max((r for r in rows if _speedup(r) is not None), key=lambda r: _speedup(r) or 0.0, default=None)
    base = next((r for r in rows if r["precision"] == "fp32"), None)
    return {
        "id": folder.name,
        "started": state.get("started"),
        "pipeline": state.get("pipeline"),
        "model": state.get("model") or (report and report.get("model")),
        "data": state.get("data") or (report and report.get("data")),
        "status": status,
        "resumed_from": state.get("resumed_from"),
        "map_fp32": None if base is None else base.get("map"),
        "map": None if best is None else best.get("map"),
        "speedup": None if best is None else _speedup(best),
        "engine_bytes": None if best is None else best.get("engine_bytes"),
        "backend": None if best is None else best.get("backend"),
    }


def _speedup(row: Row) -> float | None:
    return row.get("speedup", {}).get("runtime")


def _print(rows: Sequence[Mapping[str, Any]]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in (
        "run",
        "started (UTC)",
        "model",
        "data",
        "status",
        "mAP FP32",
        "INT8",
        "speed-up",
        "engine",
        "backend",
    ):
        right = name in ("mAP FP32", "INT8", "speed-up", "engine")
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    for r in rows:
        table.add_row(
            r["id"],
            plain((r["started"] or "").replace("T", " ").removesuffix("Z")),
            plain(r["model"] or ""),
            plain(r["data"] or ""),
            Text(plain(r["status"]), _COLORS.get(r["status"], "")),
            _number(r["map_fp32"], 1),
            _number(r["map"], 1),
            _number(r["speedup"], 2, "x"),
            size(r["engine_bytes"]),
            plain(r["backend"] or ""),
        )
    console = stdout_console(200)
    console.print(table)


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "" if value is None else f"{value:.{digits}f}{unit}"
