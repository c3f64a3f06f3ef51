"""Tables as lists of words, for Markdown and for the console alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stages.numerics.variants import SEED, is_float, title_of
from stages.options import compression
from stages.report import marks, points
from stages.report.markdown_text import escape
from stages.report.rows import BASE, ORDER
from stages.report.schema import GateVerdict, ReportContent, Row, TableContent
from stages.report.schema_engines import ModeLatency

NOTHING = "None"
"""The word of a cell for what is not known; `NONE_SHOWN` is what people see of it."""
NONE_SHOWN = "–"

MODE_NAMES: dict[str, str] = {"runtime": "Runtime", "end2end": "End2End"}
METHODS: dict[str, str] = compression.METHODS


@dataclass(frozen=True)
class Table:
    """A titled table; every row is as long as the header."""

    title: str
    header: list[str]
    rows: list[list[str]]

    @property
    def words(self) -> list[bool]:
        """Of each column, whether it holds words rather than numbers, which are aligned to the right."""
        return [is_word(column) for column in zip(*self.rows, strict=True)] or [True] * len(self.header)

    def content(self) -> TableContent:
        """The table for ``report.json``."""
        return {"title": self.title, "header": self.header, "rows": self.rows}

    def markdown(self) -> str:
        """The table alone, without its title."""
        rule = ["---" if words else "---:" for words in self.words]
        rows = [[NONE_SHOWN if cell == NOTHING else escape(cell) for cell in row] for row in self.rows]
        lines = [[escape(name) for name in self.header], rule, *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def engine_name(backend: str, precision: str) -> str:
    """An engine as people call it: ``onnxruntime INT8``."""
    return f"{backend} {title_of(precision)}"


def row_name(row: Row) -> str:
    """The name of a row's engine."""
    return engine_name(row["backend"], row["precision"])


def latency_table(report: ReportContent, mode: str) -> Table:
    """One of the two main tables: a line per backend, medians in milliseconds.

    A column per variant: those of `SEED` always, others where a backend has them. A cell is ``None`` where it was not
    asked for, ``failed`` or ``unavailable`` where it did not come about (`left_out` says why); a star behind a latency
    or a speed-up says that it is not valid (`stages/report/marks.py`).
    """
    name = MODE_NAMES[mode]
    there = {row["precision"] for row in report["rows"]}
    columns = [variant for variant in ORDER if variant in SEED or variant in there]
    header = [
        "Backend", "Hardware", *(f"{title_of(variant)} latency, ms" for variant in columns), "Max. speed-up",
        "INT8 over best float", "FP32 mAP", "INT8 mAP", "Method",
    ]  # fmt: skip
    absent = {(one["backend"], one["precision"]) for one in report.get("left_out", ())}
    by_backend: dict[str, dict[str, Row]] = {}
    for row in report["rows"]:
        by_backend.setdefault(row["backend"], {})[row["precision"]] = row
    method = METHODS.get(report["method"], report["method"] or NOTHING)
    rows = []
    for backend, of in by_backend.items():
        speedups = [(ratio, r) for r in of.values() if (ratio := r["speedup"][mode]) is not None]
        fastest = max(speedups, key=lambda one: one[0], default=None)
        cells = {p: _cell(of.get(p), _median(of.get(p), mode), 2) + _star(of.get(p), mode) for p in columns}
        cells |= {p: "unavailable" for p in columns if p not in of and (backend, p) in absent}
        rows.append(
            [
                backend,
                next(iter(of.values()))["hardware"] or NOTHING,
                *cells.values(),
                f"{fastest[0]:.2f}{marks.star(marks.speedup(fastest[1], mode))}" if fastest else NOTHING,
                _best_over_float(of.values(), mode),
                *(_cell(of.get(p), of[p]["map"] if p in of else None, 1) for p in (BASE, "int8")),
                method,
            ]
        )
    return Table(f"{name} latency", header, rows)


def detail_table(report: ReportContent) -> Table:
    """A line per backend and variant."""
    header = [
        "Backend", "Precision", "Status", "Runtime p50, ms", "p90", "p99", "Speed-up", "Over best float",
        "End2End p50, ms", "Speed-up", "Over best float", "mAP", "AP50", "mAP change", "Engine, MB", "INT8 share",
    ]  # fmt: skip
    rows = []
    for row in report["rows"]:
        runtime, end2end = row["latency"]["runtime"], row["latency"]["end2end"]
        share, size = row["int8_share"], row["engine_bytes"]
        rows.append(
            [
                row["backend"],
                title_of(row["precision"]),
                row["status"],
                digits(runtime and runtime["median_ms"], 2) + _star(row, "runtime"),
                digits(runtime and runtime.get("p90_ms"), 2) + _cell_star(runtime, "p90_ms"),
                digits(runtime and runtime.get("p99_ms"), 2) + _cell_star(runtime, "p99_ms"),
                _speedup(row, "runtime"),
                _over_float(row, "runtime"),
                digits(end2end and end2end["median_ms"], 2) + _star(row, "end2end"),
                _speedup(row, "end2end"),
                _over_float(row, "end2end"),
                digits(row["map"], 1),
                digits(row["map50"], 1),
                points.told(row) or NOTHING,
                digits(None if size is None else size / 1e6, 1),
                NOTHING if share is None else f"{share:.1%}",
            ]
        )
    return Table("Every engine", header, rows)


def class_table(report: ReportContent) -> Table:
    """A line per class: boxes, and the AP on every engine that was scored, in points."""
    scored = [(row_name(row), row["accuracy"]["per_class"]) for row in report["rows"] if row["accuracy"]]
    rows = [
        [same[0]["name"], str(same[0]["boxes"]), *(digits(None if c["AP"] is None else 100 * c["AP"], 1) for c in same)]
        for same in zip(*(classes for _, classes in scored), strict=True)
    ]
    names = [name for name, _ in scored]
    return Table("AP per class", ["Class", "Boxes", *names], rows)


def gate_table(report: ReportContent) -> Table:
    """A line per gate and engine; several gates of an engine that are left out for one reason share a line."""
    gates = report.get("gates", ())
    left_out = Counter(_left_out(gate) for gate in gates)
    rows = [_gate_line(gate) for gate in gates if left_out[_left_out(gate)] < 2 or not _left_out(gate)]
    for key, count in left_out.items():
        if key and count > 1:
            engine, reason = key
            rows.append(["left out", f"{count} gates", engine, NOTHING, NOTHING, NOTHING, reason])
    return Table("Gates", ["Verdict", "Gate", "Engine", "Limit", "Measured", "Margin", "What was judged"], rows)


def _left_out(gate: GateVerdict) -> tuple[str, str] | None:
    """Of a gate that is left out, engine and reason."""
    if gate["verdict"] != "left out":
        return None
    return engine_name(gate["backend"], gate["precision"]), gate["reason"] or ""


def _gate_line(gate: GateVerdict) -> list[str]:
    return [
        gate["verdict"],
        gate["gate"],
        engine_name(gate["backend"], gate["precision"]),
        f"{gate['limit']:g}",
        NOTHING if gate["value"] is None else f"{gate['value']:.3g}",
        NOTHING if gate["margin"] is None else f"{gate['margin']:+.3g}",
        gate["of"] + (f"; {gate['reason']}" if gate["reason"] else ""),
    ]


def missing(report: ReportContent) -> list[tuple[list[str], str, str]]:
    """What failed or is unavailable: stages, status, reason; stages that are missing for one reason stand together."""
    found: dict[tuple[str, str], list[str]] = {}
    for failure in report["failures"]:
        reason = (str(failure.get("status", "failed")), str(failure.get("error", "")))
        found.setdefault(reason, []).append(failure["stage"])
    return [(stages, *reason) for reason, stages in found.items()]


def left_out(report: ReportContent) -> list[str]:
    """A sentence per reason why a backend has no such variant."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in report.get("left_out", ()):
        found.setdefault((one["backend"], one["reason"]), []).append(title_of(one["precision"]))
    return [f"{backend}, {'; '.join(titles)}: {reason}" for (backend, reason), titles in found.items()]


def invalid_timings(report: ReportContent) -> list[str]:
    """A sentence per timing and per ratio that is not valid."""
    return invalid_times(report) + invalid_ratios(report)


def invalid_times(report: ReportContent) -> list[str]:
    """A sentence per timing that is not valid."""
    return [
        f"{row_name(row)}, {MODE_NAMES[mode]}: {verdict}"
        for row in report["rows"]
        for mode, verdict in row["validity"].items()
        if not marks.is_valid(verdict)
    ]


def invalid_ratios(report: ReportContent) -> list[str]:
    """A sentence per speed-up that is not valid."""
    return [
        f"{row_name(row)}, {MODE_NAMES[mode]}, {what}: {verdict}"
        for row in report["rows"]
        for mode in MODE_NAMES
        for what, verdict in (("speed-up", marks.speedup(row, mode)), ("over best float", marks.over_float(row, mode)))
        if not marks.is_valid(verdict) and row["speedup"][mode] is not None and "speedup_validity" in row
    ]


def earlier_timings(report: ReportContent) -> str:
    """A sentence on the runs that timings were taken in, if that was not this one."""
    timed_in = report.get("timed_in")
    if not timed_in:
        return ""
    origins = "; ".join(dict.fromkeys(f"{node.partition('.')[2]} in run {run}" for node, run in timed_in.items()))
    return f"Timings were taken earlier, on this machine since it started: {origins}."


def _star(row: Row | None, mode: str) -> str:
    return marks.star(marks.timing(row, mode)) if row and row["latency"][mode] else ""


def _cell_star(latency: ModeLatency | None, name: str) -> str:
    validity = latency.get("validity") if latency else None
    verdict = validity.get("cells", {}).get(name) if validity else None
    return marks.star(verdict)


def _speedup(row: Row, mode: str) -> str:
    mark = marks.star(marks.speedup(row, mode))
    return _ranged(row["speedup"][mode], row["speedup_interval"][mode], 2, mark)


def _ranged(value: float | None, bounds: list[float] | None, count: int, mark: str = "") -> str:
    text = digits(value, count) + (mark if value is not None else "")
    return text if value is None or bounds is None else f"{text} ({bounds[0]:.{count}f} to {bounds[1]:.{count}f})"


def _over_float(row: Row, mode: str) -> str:
    over = (row.get("over_float") or {}).get(mode)
    if over is None:
        return NOTHING
    bounds = None if over["low"] is None or over["high"] is None else [over["low"], over["high"]]
    return _ranged(over["median"], bounds, 2, marks.star(marks.over_float(row, mode)))


def _best_over_float(rows: Iterable[Row], mode: str) -> str:
    """Of the quantized engines of a backend the largest speed-up over its fastest float one, and which that is."""
    found = [
        (over, marks.star(marks.over_float(row, mode)))
        for row in rows
        if not is_float(row["precision"])
        if (over := (row.get("over_float") or {}).get(mode)) is not None
    ]
    if not found:
        return NOTHING
    best, mark = max(found, key=lambda one: one[0]["median"])
    return f"{best['median']:.2f}{mark} ({title_of(best['against'])})"


def _median(row: Row | None, mode: str) -> float | None:
    latency = row["latency"][mode] if row else None
    return None if latency is None else float(latency["median_ms"])


def _cell(row: Row | None, value: float | None, count: int) -> str:
    if value is None and row is not None and row["status"] != "ok":
        return row["status"]
    return digits(value, count)


def digits(value: float | None, count: int, sign: str = "") -> str:
    """A number with ``count`` digits behind the point, for a cell; ``sign`` is "+" to show it always."""
    return NOTHING if value is None else f"{value:{sign}.{count}f}"


def is_word(column: Sequence[str]) -> bool:
    """Whether a column holds words rather than numbers, which are aligned to the right."""
    cells = [cell.lstrip("+-").rstrip("%*").replace(".", "") for cell in column]
    return not set(column) <= {NOTHING} and not any(cell.isdigit() for cell in cells)
