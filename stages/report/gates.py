"""Gates: what a run has to reach, judged on the rows of a report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import cast

from stages.numerics.variants import is_float, title_of
from stages.options.gate import GateOptions
from stages.report.rows import BASE
from stages.report.schema import ChallengerRow, GateVerdict, Row
from stages.report.schema_accuracy import ClassDifference, Difference

PASS, FAIL, LEFT_OUT = "pass", "fail", "left out"


@dataclass(frozen=True)
class Reading:
    """The number that a gate looks at, and where it comes from; ``None`` if it was not measured."""

    value: float | None
    of: str


def evaluate_gates(rows: list[Row], options: GateOptions, *, require_all: bool = False) -> list[GateVerdict]:
    """One verdict per gate that is set and per engine that it concerns: the INT8 ones, without any the others.

    A verdict::

        gate, backend, precision, limit
        value     the number judged: the worse bound of its interval, where it has one
        of        what that number is, in words
        margin    how far the limit is from it; negative beyond the limit
        verdict   "pass" or "fail"; what was not measured fails. "left out" if it was not because the backend is
                  unavailable on this machine, unless ``require_all``
        reason    why it fails although the number would pass, or why there is none; else null
    """
    judged = _judged(rows)
    wanted = list(_wanted(options, _READINGS))
    found = [_verdict(n, limit, row, _READINGS, options.require_valid) for row in judged for n, limit in wanted]
    if not require_all:
        unavailable = {(row["backend"], row["precision"]) for row in rows if row["status"] == "unavailable"}
        for each in found:
            if each["value"] is None and (each["backend"], each["precision"]) in unavailable:
                each["verdict"], each["reason"] = LEFT_OUT, "unavailable on this machine"
    return found


def _judged(rows: list[Row]) -> list[Row]:
    """Engines that were quantized; else those that are not FP32, else all. Names without a format are engines too."""
    reduced = [row for row in rows if row["precision"] != BASE]
    quantized = [row for row in reduced if not is_float(row["precision"])]
    return quantized or reduced or rows


def judge_beside(row: ChallengerRow, options: GateOptions) -> list[GateVerdict]:
    """The verdicts of a challenger beside the champion, named ``champion.GATE``.

    Args:
        row: the challenger's, in which ``difference``, ``class_differences``, ``speedup``, ``speedup_interval`` and
            ``validity`` are those against the champion, and ``size_ratio`` is its size / the champion's.
    """
    wanted = _wanted(options.champion, _BESIDE)
    verdicts = [_verdict(n, limit, row, _BESIDE, options.require_valid) for n, limit in wanted]
    return [{**verdict, "gate": f"champion.{verdict['gate']}"} for verdict in verdicts]


def _wanted(options: object, readings: Readings) -> Iterator[tuple[str, float]]:
    for f in fields(options):  # type: ignore[arg-type]
        limit = getattr(options, f.name)
        if f.name in readings and limit is not None:
            yield f.name, float(limit)


def _verdict(name: str, limit: float, row: Row, readings: Readings, require_valid: bool) -> GateVerdict:
    reading = readings[name](row)
    margin = reason = None
    if reading.value is None:
        reason = "not measured"
    else:
        margin = limit - reading.value if name.startswith("max_") else reading.value - limit
        if name in _TIMED and require_valid:
            reason = _invalid(row, _TIMED[name])
    return {
        "gate": name,
        "backend": row["backend"],
        "precision": row["precision"],
        "limit": limit,
        "value": reading.value,
        "of": reading.of,
        "margin": margin,
        "verdict": PASS if margin is not None and margin >= 0 and reason is None else FAIL,
        "reason": reason,
    }


def largest_drop(row: Row) -> Reading:
    """Points of mAP that an engine may lose, with the worse bound."""
    return _largest([("mAP", row["difference"].get("map"))])


def _class_drop(row: Row) -> Reading:
    return _largest([(f"class {c['name']}", c) for c in row["class_differences"]])


def _size_drop(row: Row) -> Reading:
    sizes = ("small", "medium", "large")
    return _largest([(f"{size} boxes", row["difference"].get(f"map_{size}")) for size in sizes])


def _largest(candidates: Sequence[tuple[str, Difference | ClassDifference | None]]) -> Reading:
    """The largest drop, by the worse bound: the lower one of the difference."""
    found = [
        Reading(-(interval["value"] if interval["low"] is None else interval["low"]),
                f"{name}, {'no interval' if interval['low'] is None else 'upper bound of the drop'}")
        for name, interval in candidates
        if interval is not None and interval["value"] is not None
    ]  # fmt: skip
    return max(found, key=lambda reading: reading.value or 0.0, default=Reading(None, "drop of mAP"))


def _speedup(mode: str) -> Callable[[Row], Reading]:
    def read(row: Row) -> Reading:
        ratio, bounds = row["speedup"][mode], row["speedup_interval"][mode]
        if bounds is not None:
            return Reading(bounds[0], "lower bound of the speed-up")
        return Reading(ratio, "speed-up, no interval")

    return read


def _over_float(row: Row) -> Reading:
    over = (row.get("over_float") or {}).get("runtime")
    if over is None:
        return Reading(None, "speed-up over the best float engine")
    against = title_of(over["against"])
    if over["low"] is None:
        return Reading(over["median"], f"speed-up over {against}, no interval")
    return Reading(over["low"], f"lower bound of the speed-up over {against}")


def _median(mode: str) -> Callable[[Row], Reading]:
    def read(row: Row) -> Reading:
        latency = row["latency"][mode]
        return Reading(None if latency is None else latency["median_ms"], "median, ms")

    return read


def _size(row: Row) -> Reading:
    return Reading(None if row["engine_bytes"] is None else row["engine_bytes"] / 1e6, "MB")


def _size_ratio(row: Row) -> Reading:
    return Reading(cast(ChallengerRow, row)["size_ratio"], "size / the champion's")


def _share(row: Row) -> Reading:
    return Reading(row["int8_share"], "share of multiply-adds")


def _invalid(row: Row, mode: str) -> str | None:
    """Why a timing is not valid, of this engine or (for a speed-up) of the FP32 one beside it."""
    verdict = str(row["validity"][mode] or "invalid: no verdict")
    return None if verdict == "valid" else f"timing {verdict}"


Readings = dict[str, Callable[[Row], Reading]]

_READINGS: Readings = {
    "max_map_drop": largest_drop,
    "max_class_drop": _class_drop,
    "max_size_drop": _size_drop,
    "min_speedup": _speedup("runtime"),
    "min_end2end_speedup": _speedup("end2end"),
    "min_speedup_over_float": _over_float,
    "max_latency_ms": _median("runtime"),
    "max_end2end_ms": _median("end2end"),
    "max_engine_mb": _size,
    "min_int8_share": _share,
}
_BESIDE: Readings = {
    "max_map_drop": largest_drop,
    "max_class_drop": _class_drop,
    "min_speedup": _speedup("runtime"),
    "min_end2end_speedup": _speedup("end2end"),
    "max_size_ratio": _size_ratio,
}
_TIMED = {
    "min_speedup": "runtime",
    "min_end2end_speedup": "end2end",
    "min_speedup_over_float": "runtime",
    "max_latency_ms": "runtime",
    "max_end2end_ms": "end2end",
}
