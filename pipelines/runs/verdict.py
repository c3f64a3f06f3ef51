"""The end of a run, for the person who waited for it: which engine to use, what it gains and costs, what to do next.

The choice is the report's own (``ship``, see `stages/report/ship.py`); here it is only put into words.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipelines.runs.history import short_ids
from pipelines.runs.tables import WIDTH, print_list, stdout_console
from pipelines.system.paths import shorten
from pipelines.system.times import span
from pipelines.system.units import size
from stages.outside.text import plain
from stages.report import float_blocks, marks
from stages.report.gates import FAIL, LEFT_OUT, PASS
from stages.report.rows import BASE
from stages.report.schema import GateVerdict, ReportContent, Row
from stages.report.schema_engines import Bounds
from stages.report.tables import NONE_SHOWN, engine_name, invalid_ratios, invalid_times, row_name

SHOWN = 6
"""Gates that are named one by one."""


def print_verdict(
    content: ReportContent, run_dir: Path, seconds: float, console: Console | None = None, *, following: bool = True
) -> None:
    """Print how a compression ended (by default to standard output).

    Args:
        seconds: since the run began.
        following: say too where the page is and what can be done next.
    """
    console = console or stdout_console(WIDTH)
    rows = [row for row in content["rows"] if row["latency"]["runtime"] or row["map"] is not None]
    if len(rows) > 1:
        print_list(*_engines(rows), console)
        print_lines(_disturbed(content), console, bold=False)
        console.print()
    blocks = float_blocks.headline(content)
    gates = gate_lines(content.get("gates") or ())
    print_lines([*verdict(content, seconds), *([blocks] if blocks else []), *gates], console)
    if following:
        console.print()
        print_next(list(next_steps(content, run_dir)), console, page=run_dir / "report.html")


def print_next(steps: Sequence[tuple[str, str]], console: Console | None = None, page: Path | None = None) -> None:
    """Print where the page is, and commands with what each is for. Neither is wrapped: both are there to be copied."""
    console = console or stdout_console(WIDTH)
    head = "Next:   "
    if page is not None:
        console.print(Text(f"Report: {plain(shorten(str(page)))}"), soft_wrap=True)
    for command, purpose in steps:
        console.print(Text(f"{head}{plain(command)}"), Text(f"  {purpose}", "dim"), sep="", soft_wrap=True)
        head = " " * len(head)


def print_lines(lines: Sequence[str], console: Console, *, bold: bool = True) -> None:
    """Print sentences, the first one bold; what does not fit in a line is indented below it."""
    for number, line in enumerate(lines):
        indent = " " * (len(line) - len(line.lstrip()) + 2)
        parts = textwrap.wrap(
            plain(line), console.width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
        )
        for part in parts if console.is_terminal else [plain(line)]:  # a file has no width: one line a sentence
            console.print(Text(part, "bold" if bold and number == 0 else ""), soft_wrap=True)


def verdict(content: ReportContent, seconds: float) -> list[str]:
    """Which engine to use and how much faster it is; what it costs in mAP; its size, and what the run took.

    Args:
        seconds: since the run began.
    """
    took = f"The run took {span(seconds)}."
    row = _chosen(content)
    if row is None:
        return [_without_choice(content), took]
    rest = ""
    if ship := content.get("ship"):
        rest = ship["sentence"].partition(". ")[2]  # what the choice rests on, beside the numbers told here
    base = next((r for r in content["rows"] if (r["backend"], r["precision"]) == (row["backend"], BASE)), None)
    lines = [_speed(row, base, content), _accuracy(row), f"{_size(row, base)}{took}"]
    return [*lines, *([rest] if rest else [])]


def gate_lines(gates: Sequence[GateVerdict]) -> list[str]:
    """Whether the gates hold; those that do not, each with by how much."""
    if not gates:
        return []
    asked = [gate for gate in gates if gate["verdict"] != LEFT_OUT]
    left_out = f" ({len(gates) - len(asked)} left out: not available here)" if len(asked) < len(gates) else ""
    missed = [gate for gate in asked if gate["verdict"] != PASS]
    if not missed:
        held = f"all {len(asked)} hold" if len(asked) > 1 else "the one there is holds" if asked else "none was judged"
        return [f"Gates: {held}{left_out}."]
    failed = sum(gate["verdict"] == FAIL for gate in missed)
    told = []
    if found:
        told.append(f"* {len(found)} of {many} timings are not valid; the report says each, the first is {found[0]}")
    if ratios:
        several = "1 speed-up is not valid" if len(ratios) == 1 else f"{len(ratios)} speed-ups are not valid"
        told.append(f"* {several}" + ("" if found else f"; the first is {ratios[0]}"))
    return told
