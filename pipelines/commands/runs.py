"""``detpress runs``: the runs of an artifacts folder, one line each."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from rich.cells import cell_len
from rich.text import Text

from pipelines.retraining.journal import PROMOTED, Journal
from pipelines.runs import history
from pipelines.runs.index import Index
from pipelines.runs.listed import Listed, listed, read
from pipelines.runs.tables import stdout_console
from pipelines.system.arguments import Parser
from pipelines.system.run_lock import is_alive
from pipelines.system.times import age
from pipelines.system.units import size
from stages.errors import ExitCode
from stages.outside.text import plain
from stages.report import marks

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
    with Index(artifacts) as index:
        rows = [row(folder, promoted, index) for folder in history.folders(artifacts)[: options.last]]
    if options.json:
        print(json.dumps({"schema_version": 1, "runs": rows}, indent=1))
    elif not rows:
        print(f"there are no runs under {(artifacts / 'runs').resolve()}")
    else:
        _print(rows, history.short_ids(artifacts))
    return ExitCode.DONE


def row(folder: Path, promoted: Collection[str] = (), index: Index | None = None) -> dict[str, Any]:
    """What the table shows of one run; ``None`` for what it does not have (yet).

    Args:
        promoted: the runs whose engines retraining made the champion.
        index: of the run's folder; nothing is kept without it.
    """
    found = listed(folder, index) if index else cast(Listed, read(folder).content)
    status = str(found["status"])
    if status == history.RUNNING and not is_alive(folder):
        status = history.KILLED
    outcome = _outcome(
        status, found["pipeline"], found["gates"], found["gates_not_judged"], promoted=folder.name in promoted
    )
    row: dict[str, Any] = {"id": folder.name}
    for name, value in found.items():
        row[name] = value
        if name == "status":
            row |= {"status": status, "outcome": outcome}
    return row


def _outcome(status: str, pipeline: str | None, gates: Sequence[int] | None, unjudged: int, *, promoted: bool) -> str:
    """``gates 9/12``, ``promoted``, ``interrupted``, ... ; ``done`` where there was nothing to judge."""
    if status != history.FINISHED:
        return _WORDS.get(status, status)
    if promoted or (pipeline == "promote" and (gates is None or gates[0] == gates[1])):
        return "promoted"
    if gates is None:
        return "done"
    return f"gates {gates[0]}/{gates[1]}" + (f", {unjudged} not judged" if unjudged else "")


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
    widths = {name: max(map(cell_len, (name, *cells))) for name, cells in columns.items()}
    room, chosen = console.width, set()
    for name in _BY_WEIGHT:
        width = widths[name] + _GAP
        if name not in same and any(columns[name]) and (width <= room or name == "run"):
            room -= width
            chosen.add(name)
    # Beside each other by hand: a table of rich's own takes seconds for thousands of runs.
    shown = {name: widths[name] for name in columns if name in chosen}
    lines = [_line({name: Text(name, "bold") for name in shown}, shown)]
    for i, r in enumerate(rows):
        style = "red" if r["gates"] and r["gates"][0] < r["gates"][1] else _COLORS.get(r["status"], "")
        cells = {name: Text(columns[name][i], style if name == "outcome" else "") for name in shown}
        lines.append(_line(cells, shown))
    console.print(Text("\n").join(lines), soft_wrap=True)
    notes = [f"{name}: {value}" for name, value in same.items() if value]
    hidden = [name for name in columns if name not in chosen and name not in same and any(columns[name])]
    if hidden:
        notes.append(f"in a wider terminal also: {', '.join(hidden)}")
    if "speed-up" in chosen and not all(marks.is_valid(r["speedup_verdict"]) for r in rows):
        notes.append(marks.LEGEND)
    if notes:
        console.print(plain("; ".join(notes)), soft_wrap=True, markup=False)


def _line(cells: Mapping[str, Text], widths: Mapping[str, int]) -> Text:
    """The cells as a line of columns that have these widths."""
    line = Text()
    for i, (name, cell) in enumerate(cells.items()):
        line.append(" " * _GAP if i else "").append_text(cell).append(" " * (widths[name] - cell.cell_len))
    return line


_BY_WEIGHT = ("run", "outcome", "age", "kind", "mAP FP32", "INT8", "speed-up", "model", "data", "engine", "backend")


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "" if value is None else f"{value:.{digits}f}{unit}"
