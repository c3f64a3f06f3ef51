"""The report's rows: one per backend and variant, whatever became of it.

A row::

    backend, precision (the variant), hardware
    status        "ok", "failed" or "unavailable"; ``error`` says why, ``failed_stages`` where
    latency       {"runtime": {...}, "end2end": {...}}: count, milliseconds per run (``stages/latency/latency.py``)
    validity      {"runtime", "end2end"}: "valid" or "invalid: why"
    speedup       {"runtime", "end2end"}: time of this backend's FP32 / time of this row; null for FP32 itself
    speedup_interval    {"runtime", "end2end"}: [low, high] of it, 95 % confidence
    speedup_validity    {"runtime", "end2end"}: the verdict on it, as of ``validity``; it may be valid where the times
                  are not (``stages/latency/ratio.py``)
    over_float    {"runtime", "end2end"}: {"against", "median", "low", "high", "verdict"}: how many times faster than
                  the backend's fastest float engine, and which that is; null for that engine itself
    map, map50, map75    points, 0 to 100; map_drop: FP32's map on the same backend minus this one
    difference    {"map", "map50", ...: {"value", "low", "high"}}: this row minus FP32 (``stages/accuracy/compare.py``)
    class_differences    [{"name", "boxes", "value", "low", "high"}], likewise per class
    accuracy      the other metrics of ``accuracy.json``
    parts, memory (see ``stages/latency/latency.py``), audit (see ``stages/backends/audit.py``)
    agreement     with the reference, ``engines`` in ``agreement.json``; an engine that disagrees is "failed"
    matches       store key of the accuracy's matches, for comparing runs
    engine_bytes (all files of the engine), build_seconds, threads, batch, load_s, nms_in, int8_share

What is not known is null. A variant that is only opened in another way has its engine's size, scores and agreement.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from stages.artifacts import AccuracyResult, Comparison, Engine, LatencyResult
from stages.numerics.variants import VARIANTS, engine_of
from stages.report import marks
from stages.report.schema import Failure, Row
from stages.report.schema_accuracy import AccuracyContent, AgreementContent, CompareContent, Scores
from stages.report.schema_engines import Bounds, LatencyContent, OverFloat

MODES: tuple[str, ...] = ("runtime", "end2end")
BASE = "fp32"
ORDER: tuple[str, ...] = tuple(VARIANTS)
"""Variants in the order of the tables; other names follow."""


def build_rows(
    engines: Sequence[Engine],
    latencies: Sequence[LatencyResult],
    accuracies: Sequence[AccuracyResult],
    comparisons: Sequence[Comparison],
    failures: Sequence[Failure],
    hardware: str,
    planned: Mapping[str, Sequence[str]] | None = None,
) -> list[Row]:
    """Rows in the order in which backends appear, FP32 first within each.

    Args:
        planned: backend -> the variants that have a row; of another backend, each engine and timing.
    """
    rows: dict[tuple[str, str], Row] = {}
    asked = planned or {}

    def row(backend: str, precision: str) -> Row:
        return rows.setdefault((backend, precision), _empty(backend, precision, hardware))

    def of_engine(backend: str, precision: str) -> list[Row]:
        """The rows of an engine: of each variant that it is opened as."""
        if backend not in asked:
            return [row(backend, precision)]
        return [row(backend, name) for name in asked[backend] if engine_of(name) == precision]

    for backend, names in asked.items():
        for name in names:
            row(backend, name)
    for engine in engines:
        for own in of_engine(engine.backend, str(engine.precision)):
            _add_engine(own, engine)
    for latency in latencies:
        timed: LatencyContent = json.loads(latency.path("latency.json").read_text(encoding="utf-8"))
        for engine_name in timed["engines"]:
            _add_latency(row(latency.backend, engine_name), timed, engine_name)
    for accuracy in accuracies:
        scored: AccuracyContent = json.loads(accuracy.path("accuracy.json").read_text(encoding="utf-8"))
        for own in of_engine(accuracy.backend, str(accuracy.precision)):
            _add_accuracy(own, scored, accuracy.key)
    for comparison in comparisons:
        compared: CompareContent = json.loads(comparison.path("compare.json").read_text(encoding="utf-8"))
        for own in of_engine(comparison.backend, str(comparison.other)):
            own["difference"] = {k: v for k, v in compared["difference"].items() if v is not None}
            own["class_differences"] = compared["per_class"]
    for failure in failures:
        backend_name, precision = failure.get("backend"), failure.get("precision")
        if backend_name and precision:
            of_engine(backend_name, str(precision))
    for failure in failures:
        for hit in _concerned(rows.values(), failure):
            _add_failure(hit, failure)
    for own in rows.values():
        _compare(own, rows.get((own["backend"], BASE)))
    backends = list(dict.fromkeys(backend for backend, _ in rows))
    return sorted(rows.values(), key=lambda r: (backends.index(r["backend"]), _rank(r["precision"])))


def _empty(backend: str, precision: str, hardware: str) -> Row:
    return {
        "backend": backend,
        "precision": precision,
        "hardware": hardware,
        "status": "ok",
        "failed_stages": [],
        "latency": dict.fromkeys(MODES),
        "validity": dict.fromkeys(MODES),
        "speedup": dict.fromkeys(MODES),
        "speedup_interval": dict.fromkeys(MODES),
        "speedup_validity": dict.fromkeys(MODES),
        "over_float": dict.fromkeys(MODES),
        "difference": {},
        "class_differences": [],
        "error": None,
        "map": None,
        "map50": None,
        "map75": None,
        "map_drop": None,
        "accuracy": None,
        "engine_bytes": None,
        "build_seconds": None,
        "threads": None,
        "batch": None,
        "load_s": None,
        "nms_in": None,
        "int8_share": None,
        "parts": None,
        "memory": None,
        "audit": None,
        "matches": None,
        "agreement": None,
    }


def _rank(precision: str) -> tuple[int, str]:
    return (ORDER.index(precision) if precision in ORDER else len(ORDER), precision)


def _add_engine(row: Row, engine: Engine) -> None:
    row["engine_bytes"] = engine.size_bytes
    row["build_seconds"] = engine.build_seconds
    row["threads"] = engine.options.get("threads")
    row["batch"] = engine.batch
    row["audit"] = audit = engine.notes.get("audit")
    row["int8_share"] = audit["int8_share"] if audit else None


def _add_latency(row: Row, content: LatencyContent, precision: str) -> None:
    found = content["engines"][precision]
    row["latency"] = {"runtime": found.get("runtime"), "end2end": found.get("end2end")}
    for mode, latency in row["latency"].items():
        validity = latency.get("validity") if latency else None
        row["validity"][mode] = validity["verdict"] if validity else None
    row["parts"], row["memory"] = found.get("parts"), found.get("memory")
    if precision != BASE:
        ratios = content["over_fp32"].get(precision, {}) if "over_fp32" in content else content.get("speedup", {})
        for mode, ratio in ratios.items():
            row["speedup"][mode] = ratio["median"]
            row["speedup_validity"][mode] = ratio.get("verdict", row["validity"][mode])
            if ratio["low"] is not None and ratio["high"] is not None:
                row["speedup_interval"][mode] = [ratio["low"], ratio["high"]]
    for mode, over in _over_float(content, precision).items():
        row["over_float"][mode] = {"against": over["against"], **_bounds(over)}
    cold = found.get("cold_start")
    row["load_s"] = cold["load_s"] if cold else None
    row["nms_in"] = content.get("nms_in")


def _over_float(content: LatencyContent, precision: str) -> dict[str, OverFloat]:
    """Of timings that were taken before there were variants: over FP32, the only float engine then."""
    if "over_best_float" in content:
        return content["over_best_float"].get(precision, {})
    ratios = content.get("speedup", {}) if precision == "int8" else {}
    return {mode: {"against": BASE, **_bounds(ratio)} for mode, ratio in ratios.items()}


def _bounds(ratio: Bounds) -> Bounds:
    bounds: Bounds = {"median": ratio["median"], "low": ratio["low"], "high": ratio["high"]}
    return {**bounds, "verdict": ratio["verdict"]} if "verdict" in ratio else bounds


def _add_accuracy(row: Row, content: AccuracyContent, key: str) -> None:
    row["matches"] = key or None
    row["map"], row["map50"], row["map75"] = content["map"], content["map50"], content["map75"]
    shown_elsewhere = ("schema_version", "backend", "precision", "map", "map50", "map75", "nms", "model_labels")
    row["accuracy"] = cast(Scores, {k: v for k, v in content.items() if k not in shown_elsewhere})


def add_agreement(rows: Iterable[Row], content: AgreementContent) -> None:
    """Note at each row how it agrees with the reference; one that does not has failed."""
    by_engine = {(each["backend"], each["precision"]): each for each in content["engines"]}
    for row in rows:
        row["agreement"] = found = by_engine.get((row["backend"], engine_of(row["precision"])))
        if found is not None and found["verdict"] == "disagrees":
            error = f"it disagrees with the reference: {found['reason']}; see agreement.* and the stage's log"
            _add_failure(row, {"stage": "agreement", "status": "failed", "error": error})


def _concerned(rows: Iterable[Row], failure: Failure) -> list[Row]:
    """The rows that miss something because of a failure; one without a precision concerns all of its backend."""
    if not failure.get("backend"):
        return []  # an earlier stage; what it left undone is reported by the stages that needed it
    precision = failure.get("precision")
    return [
        r
        for r in rows
        if r["backend"] == failure["backend"] and (not precision or engine_of(r["precision"]) == str(precision))
    ]


def _add_failure(row: Row, failure: Failure) -> None:
    status = failure.get("status", "failed")
    row["status"] = status if row["status"] in ("ok", status) else "failed"
    row["failed_stages"].append(failure["stage"])
    error = str(failure.get("error", ""))
    if error not in (row["error"] or "").split("\n"):  # one cause, several stages that miss its result
        row["error"] = f"{row['error']}\n{error}" if row["error"] else error


def _compare(row: Row, base: Row | None) -> None:
    if base is None or base is row:
        return
    for mode in MODES:
        own, other = row["latency"][mode], base["latency"][mode]
        if own and other and row["speedup"][mode] is None:
            row["speedup"][mode] = other["median_ms"] / own["median_ms"]
            verdicts = [each["validity"][mode] for each in (base, row)]
            row["speedup_validity"][mode] = next((v for v in verdicts if not marks.is_valid(v)), verdicts[1])
    if row["map"] is not None and base["map"] is not None:
        row["map_drop"] = base["map"] - row["map"]
