"""The end of a run, for the person who waited for it: which engine to use, what it gains and costs, what to do next.

Which engine, and whether a loss can be told from zero, is said in the page's words (`stages/report/conclusion.py`).
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
from stages.report import float_blocks, light, marks, points, search, thresholds, throughput
from stages.report.conclusion import certainty, conclude
from stages.report.gates import FAIL, LEFT_OUT, PASS
from stages.report.rows import BASE
from stages.report.schema import GateVerdict, ReportContent, Row
from stages.report.schema_engines import Bounds
from stages.report.tables import NONE_SHOWN, NOTHING, engine_name, invalid_ratios, invalid_times, row_name

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
    if content.get("throughput"):
        _print_throughput(content, console)
    told = (light.headline(content), search.headline(content), float_blocks.headline(content))
    said = [one for one in told if one]
    said += thresholds.headlines(content)
    gates = gate_lines(content.get("gates") or ())
    print_lines([*verdict(content, seconds), *said, *gates], console)
    if following:
        console.print()
        print_next(list(next_steps(content, run_dir)), console, page=run_dir / "report.html")


def _print_throughput(content: ReportContent, console: Console) -> None:
    found = throughput.short_table(content)
    if found.rows:
        rows = [[NONE_SHOWN if cell == NOTHING else cell for cell in row] for row in found.rows]
        print_list(found.header, rows, console)
    said, disturbed = throughput.missing(content), throughput.invalid(content)
    if disturbed:
        said.append(
            f"* {len(disturbed)} of these numbers are not valid; the report says each, the first is {disturbed[0]}"
        )
    print_lines(said, console, bold=False)
    console.print()


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
    found = conclude(content)
    row = found.row
    if row is None:
        return [f"{found.headline}. {found.why}", took]
    rest = ""
    if content.get("ship"):
        rest = found.why.partition(". ")[2]  # what the choice rests on, beside the numbers told here
    base = next((r for r in content["rows"] if (r["backend"], r["precision"]) == (row["backend"], BASE)), None)
    lines = [f"{found.headline}: {_speed(row, base, content)}.", _accuracy(row), f"{_size(row, base)}{took}"]
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
    told = [f"{failed} of {len(asked)} failed"] if failed else []
    if len(missed) > failed:
        told.append(f"{len(missed) - failed} of {len(asked)} could not be judged")
    more = [f"  and {len(missed) - SHOWN} more, see the report"] if len(missed) > SHOWN else []
    return [f"Gates: {', '.join(told)}{left_out}:", *(f"  {_missed(gate)}" for gate in missed[:SHOWN]), *more]


def next_steps(content: ReportContent, run_dir: Path) -> Iterator[tuple[str, str]]:
    """Commands that continue from the run, with what each is for."""
    artifacts = run_dir.parents[1]
    run = short_ids(artifacts).get(run_dir.name, run_dir.name)
    where = "" if artifacts == Path("artifacts").resolve() else f" --artifacts {shlex.quote(shorten(str(artifacts)))}"
    if any(gate["verdict"] == FAIL and "drop" in gate["gate"] for gate in content.get("gates") or ()):
        yield f"{content['command'].replace(' compress ', ' sensitivity ', 1)}", "which blocks lose the mAP"
    if row := conclude(content).row:
        words = "" if row["backend"] == "onnxruntime" else f" backend={row['backend']}"
        words += "" if row["precision"] == "int8" else f" precision={row['precision']}"
        yield f"detpress bundle {run}{words}{where}", "pack it for another machine"
    yield f"detpress report {run}{where}", "every number"


def _speed(row: Row, base: Row | None, content: ReportContent) -> str:
    runtime = row["latency"]["runtime"]
    assert runtime is not None, "a row that was chosen is timed"
    facts = []
    ship = content.get("ship")
    if ship and (over := ship["over_fp32"]):
        facts.append(f"{_times(over)} as fast as FP32")
    if ship and (best := ship["over_best_float"]) and best["against"] != engine_name(row["backend"], BASE):
        facts.append(f"{_times(best)} as fast as {best['against']}, the fastest float engine")
    beside = base["latency"]["runtime"] if base is not None and base is not row else None
    instead = f" instead of {beside['median_ms']:.2f}" if beside else ""
    facts.append(f"{runtime['median_ms']:.2f} ms{instead}")
    where = f"on {content['hardware']}" if content["hardware"] else ""
    if row["threads"]:
        where += f", {row['threads']} thread{'' if row['threads'] == 1 else 's'}"
    return f"{', '.join(facts)}{f' ({where})' if where else ''}"


def _accuracy(row: Row) -> str:
    if row["map"] is None:
        return "Accuracy: not measured, since there are no labels."
    found = row["difference"].get("map")
    if row["precision"] == BASE or found is None or found["value"] is None:
        return f"Accuracy: mAP {row['map']:.1f}{'; it is the reference' if row['precision'] == BASE else ''}."
    text = f"Accuracy: mAP {row['map']:.1f}; {points.against_fp32(row)}"
    certain = certainty(row)
    if points.interval_of(row) is None or certain is None:
        return f"{text}; with so few images there is no interval."
    return f"{text}, which {certain}."


def _size(row: Row, base: Row | None) -> str:
    if row["engine_bytes"] is None:
        return ""
    beside = base["engine_bytes"] if base is not None and base is not row else None
    own, other = size(row["engine_bytes"]), size(beside)
    return f"Size: {own}{f' instead of {other}' if other and other != own else ''}. "


def _times(ratio: Bounds) -> str:
    interval = "" if ratio["low"] is None else f" (95 %: {ratio['low']:.2f} to {ratio['high']:.2f})"
    return f"{ratio['median']:.2f} times{interval}"


def _missed(gate: GateVerdict) -> str:
    name = f"{gate['gate']} of {engine_name(gate['backend'], gate['precision'])}"
    if gate["value"] is None:
        return f"{name}: {gate['reason'] or 'not measured'}"
    bound = "at most" if gate["gate"].rpartition(".")[2].startswith("max_") else "at least"
    text = f"{name}: {gate['value']:.3g} ({gate['of']}) where {bound} {gate['limit']:g} is asked for"
    if gate["margin"] is not None and gate["margin"] < 0:
        text += f", {-gate['margin']:.3g} too {'much' if bound == 'at most' else 'little'}"
    return f"{text}; {gate['reason']}" if gate["reason"] else text


def _engines(rows: Sequence[Row]) -> tuple[list[str], list[list[str | Text]]]:
    """A line per engine, in as few columns as tell them apart."""
    header = ["Engine", "Runtime, ms", "Over FP32 (95 %)", "mAP", "Size"]
    lines: list[list[str | Text]] = []
    for row in rows:
        runtime, ratio, bounds = (
            row["latency"]["runtime"],
            row["speedup"]["runtime"],
            row["speedup_interval"]["runtime"],
        )
        star = marks.star(marks.timing(row, "runtime"))
        over = NONE_SHOWN if ratio is None else f"{ratio:.2f}{marks.star(marks.speedup(row, 'runtime'))}"
        lines.append(
            [
                row_name(row),
                f"{runtime['median_ms']:.2f}{star}" if runtime else row["status"].replace("ok", NONE_SHOWN),
                over if bounds is None else f"{over} ({bounds[0]:.2f} to {bounds[1]:.2f})",
                NONE_SHOWN if row["map"] is None else f"{row['map']:.1f}",
                size(row["engine_bytes"]) or NONE_SHOWN,
            ]
        )
    return header, lines


def _disturbed(content: ReportContent) -> list[str]:
    """A sentence for all timings that are not valid, and one for all speed-ups."""
    many = sum(latency is not None for row in content["rows"] for latency in row["latency"].values())
    found, ratios = invalid_times(content), invalid_ratios(content)
    lines = []
    if found:
        lines.append(f"* {len(found)} of {many} timings are not valid; the report says each, the first is {found[0]}")
    if ratios:
        several = "1 speed-up is not valid" if len(ratios) == 1 else f"{len(ratios)} speed-ups are not valid"
        lines.append(f"* {several}" + ("" if found else f"; the first is {ratios[0]}"))
    return lines
