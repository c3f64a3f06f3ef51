"""Tables as lists of words, for Markdown and for the console alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.report.rows import BASE, ORDER, Row

COLUMNS: dict[str, str] = {
    "fp32": "FP32",
    "int8": "INT8",
    "int8_fp16": "INT8 + FP16",
    "int8_fp16_pm": "INT8 + FP16 + PM",
}
"""Precision -> its name in a table; PM: pinned memory."""
MODE_NAMES: dict[str, str] = {"runtime": "Runtime", "end2end": "End2End"}
METHODS: dict[str, str] = {
    "qat_distill": "quantization-aware distillation",
    "ptq": "post-training quantization",
    "none": "none",
}


@dataclass(frozen=True)
class Table:
    """A titled table; every row is as long as the header."""

    title: str
    header: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """The table alone, without its title; numbers are aligned to the right."""
        rule = ["---" if is_word(column) else "---:" for column in zip(*self.rows, strict=True)] or ["---"] * len(
            self.header
        )
        lines = [self.header, rule, *([_escape(cell) for cell in row] for row in self.rows)]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def latency_table(report: dict[str, Any], mode: str) -> Table:
    """One of the two main tables: a line per backend, medians in milliseconds.

    A cell is ``None`` where it does not apply (the backend has no such engine), ``failed`` or ``unavailable`` where it
    was asked for and did not come about; a star behind a latency says that the timing is not valid.
    """
    name = MODE_NAMES[mode]
    header = [
        "Backend", "Hardware", *(f"{title} latency, ms" for title in COLUMNS.values()), "Max. speed-up", "FP32 mAP",
        "INT8 mAP", "Method",
    ]  # fmt: skip
    by_backend: dict[str, dict[str, Row]] = {}
    for row in report["rows"]:
        by_backend.setdefault(row["backend"], {})[row["precision"]] = row
    method = METHODS.get(report["method"], report["method"] or "None")
    rows = []
    for backend, of in by_backend.items():
        speedups = [r["speedup"][mode] for r in of.values() if r["speedup"][mode] is not None]
        rows.append(
            [
                backend,
                next(iter(of.values()))["hardware"] or "None",
                *(_cell(of.get(p), _median(of.get(p), mode), 2) + _star(of.get(p), mode) for p in ORDER),
                f"{max(speedups):.2f}" if speedups else "None",
                *(_cell(of.get(p), of[p]["map"] if p in of else None, 1) for p in (BASE, "int8")),
                method,
            ]
        )
    return Table(f"{name} latency", header, rows)


def detail_table(report: dict[str, Any]) -> Table:
    """A line per backend and precision."""
    header = [
        "Backend", "Precision", "Status", "Runtime p50, ms", "p90", "p99", "Speed-up", "End2End p50, ms", "Speed-up",
        "mAP", "AP50", "mAP drop", "Engine, MB", "INT8 share",
    ]  # fmt: skip
    rows = []
    for row in report["rows"]:
        runtime, end2end = (row["latency"][mode] or {} for mode in ("runtime", "end2end"))
        share, size = row["int8_share"], row["engine_bytes"]
        rows.append(
            [
                row["backend"],
                COLUMNS.get(row["precision"], row["precision"]),
                row["status"],
                _number(runtime.get("median_ms"), 2) + _star(row, "runtime"),
                *(_number(runtime.get(k), 2) + _cell_star(runtime, k) for k in ("p90_ms", "p99_ms")),
                _ranged(row["speedup"]["runtime"], row["speedup_interval"]["runtime"], 2),
                _number(end2end.get("median_ms"), 2) + _star(row, "end2end"),
                _ranged(row["speedup"]["end2end"], row["speedup_interval"]["end2end"], 2),
                *(_number(row[k], 1) for k in ("map", "map50")),
                _ranged(row["map_drop"], _drop_interval(row), 1),
                _number(None if size is None else size / 1e6, 1),
                "None" if share is None else f"{share:.1%}",
            ]
        )
    return Table("Every engine", header, rows)


def class_table(report: dict[str, Any]) -> Table:
    """A line per class: boxes, and the AP on every engine that was scored, in points."""
    scored = [row for row in report["rows"] if row["accuracy"]]
    names = [f"{row['backend']} {COLUMNS.get(row['precision'], row['precision'])}" for row in scored]
    per_class = [row["accuracy"]["per_class"] for row in scored]
    rows = [
        [first["name"], str(first["boxes"]), *(_number(None if c["AP"] is None else 100 * c["AP"], 1) for c in same)]
        for same in zip(*per_class, strict=True)
        for first in same[:1]
    ]
    return Table("AP per class", ["Class", "Boxes", *names], rows)


def gate_table(report: dict[str, Any]) -> Table:
    """A line per gate and engine."""
    rows = [
        [
            gate["verdict"],
            gate["gate"],
            f"{gate['backend']} {COLUMNS.get(gate['precision'], gate['precision'])}",
            f"{gate['limit']:g}",
            "None" if gate["value"] is None else f"{gate['value']:.3g}",
            "None" if gate["margin"] is None else f"{gate['margin']:+.3g}",
            gate["of"] + (f"; {gate['reason']}" if gate["reason"] else ""),
        ]
        for gate in report.get("gates", ())
    ]
    return Table("Gates", ["Verdict", "Gate", "Engine", "Limit", "Measured", "Margin", "What was judged"], rows)


def missing(report: dict[str, Any]) -> list[tuple[list[str], str, str]]:
    """What failed or is unavailable: stages, status, reason; stages that are missing for one reason stand together."""
    found: dict[tuple[str, str], list[str]] = {}
    for failure in report["failures"]:
        reason = (str(failure.get("status", "failed")), str(failure.get("error", "")))
        found.setdefault(reason, []).append(str(failure.get("stage")))
    return [(stages, *reason) for reason, stages in found.items()]


def invalid_timings(report: dict[str, Any]) -> list[str]:
    """A sentence per timing that is not valid."""
    return [
        f"{row['backend']} {COLUMNS.get(row['precision'], row['precision'])}, {MODE_NAMES[mode]}: {verdict}"
        for row in report["rows"]
        for mode, verdict in row["validity"].items()
        if verdict not in (None, "valid")
    ]


def _star(row: Row | None, mode: str) -> str:
    return "*" if row and row["latency"][mode] and row["validity"][mode] not in (None, "valid") else ""


def _cell_star(latency: dict[str, Any], name: str) -> str:
    verdict = ((latency.get("validity") or {}).get("cells") or {}).get(name)
    return "" if verdict in (None, "valid") else "*"


def _ranged(value: float | None, bounds: list[float] | None, digits: int) -> str:
    text = _number(value, digits)
    return text if value is None or bounds is None else f"{text} ({bounds[0]:.{digits}f} to {bounds[1]:.{digits}f})"


def _drop_interval(row: Row) -> list[float] | None:
    told = row["difference"].get("map")
    return None if told is None or told["low"] is None else [-told["high"], -told["low"]]


def _median(row: Row | None, mode: str) -> float | None:
    latency = row["latency"][mode] if row else None
    return None if latency is None else float(latency["median_ms"])


def _cell(row: Row | None, value: float | None, digits: int) -> str:
    if value is None and row is not None and row["status"] != "ok":
        return str(row["status"])
    return _number(value, digits)


def _number(value: float | None, digits: int) -> str:
    return "None" if value is None else f"{value:.{digits}f}"


def is_word(column: tuple[str, ...]) -> bool:
    """Whether a column holds words rather than numbers, which are aligned to the right."""
    cells = [cell.lstrip("+-").rstrip("%*").replace(".", "") for cell in column]
    return not set(column) <= {"None"} and not any(cell.isdigit() for cell in cells)


def _escape(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
