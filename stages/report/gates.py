"""Gates: what a run has to reach, judged on the rows of a report.

A gate on a speed-up looks at the verdict of that ratio, one on milliseconds at that of the timing. Where the verdict is
not ``valid`` the gate is not judged: nobody knows whether it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import cast

from stages.numerics.variants import judged, title_of
from stages.options.gate import GateOptions
from stages.report import marks
from stages.report.schema import ChallengerRow, GateVerdict, Row
from stages.report.schema_accuracy import ClassDifference, Difference

PASS, FAIL, LEFT_OUT = "pass", "fail", "left out"
UNDECIDED, NOT_JUDGED = "undecided", "not judged"
_ACCEPTED = "; accepted (gate.accept_disturbed=true)"


@dataclass(frozen=True)
class Reading:
    """The number that a gate looks at, and where it comes from; ``None`` if it was not measured.

    ``better`` is the other bound of a speed-up's interval, ``verdict`` whether the timing can be believed.
    """

    value: float | None
    of: str
    better: float | None = None
    verdict: str | None = None


def evaluate_gates(rows: list[Row], options: GateOptions, *, require_all: bool = False) -> list[GateVerdict]:
    """One verdict per gate that is set and per engine that it concerns: the INT8 ones, without any the others.

    A verdict::

        gate, backend, precision, limit
        value     the number judged: the worse bound of its interval, where it has one
        of        what that number is, in words
        margin    how far the limit is from it; negative beyond the limit
        verdict   "pass" or "fail"; what was not measured fails. "undecided" if the interval of a speed-up lies on both
                  sides of the limit; "not judged" if the timing was disturbed, unless ``options`` say otherwise. "left
                  out" if it was not measured because the backend is unavailable on this machine, unless ``require_all``
        reason    why it is not judged, or judged all the same, or why there is no number; else null
    """
    names = judged([row["precision"] for row in rows])
    wanted = list(_wanted(options, _READINGS))
    rows_judged = [row for row in rows if row["precision"] in names]
    found = [_verdict(n, limit, row, _READINGS, options) for row in rows_judged for n, limit in wanted]
    if not require_all:
        unavailable = {(row["backend"], row["precision"]) for row in rows if row["status"] == "unavailable"}
        for each in found:
            if each["value"] is None and (each["backend"], each["precision"]) in unavailable:
                each["verdict"], each["reason"] = LEFT_OUT, "unavailable on this machine"
    return found


def holds(gate: GateVerdict) -> bool:
    """Whether nothing that was asked for is missing: the gate passes, or does not concern this machine."""
    return gate["verdict"] in (PASS, LEFT_OUT)


def accepted(gate: GateVerdict) -> bool:
    """Whether it was judged by a disturbed timing, because ``gate.accept_disturbed`` says so."""
    return (gate["reason"] or "").endswith(_ACCEPTED)


def tally(gates: Sequence[GateVerdict]) -> str:
    """Those that do not hold, counted: ``1 of 3 gates fail, 2 of 3 not judged``; empty if all do."""
    counts = {v: sum(gate["verdict"] == v for gate in gates) for v in (FAIL, UNDECIDED, NOT_JUDGED)}
    words = {FAIL: "gates fail", UNDECIDED: "undecided", NOT_JUDGED: "not judged"}
    return ", ".join(f"{count} of {len(gates)} {words[verdict]}" for verdict, count in counts.items() if count)


def judge_beside(row: ChallengerRow, options: GateOptions) -> list[GateVerdict]:
    """The verdicts of a challenger beside the champion, named ``champion.GATE``.

    Args:
        row: the challenger's, in which ``difference``, ``class_differences``, ``speedup``, ``speedup_interval`` and
            ``speedup_validity`` are those against the champion, and ``size_ratio`` is its size / the champion's.
    """
    wanted = _wanted(options.champion, _BESIDE)
    verdicts = [_verdict(n, limit, row, _BESIDE, options) for n, limit in wanted]
    return [{**verdict, "gate": f"champion.{verdict['gate']}"} for verdict in verdicts]


def _wanted(options: object, readings: Readings) -> Iterator[tuple[str, float]]:
    for f in fields(options):  # type: ignore[arg-type]
        limit = getattr(options, f.name)
        if f.name in readings and limit is not None:
            yield f.name, float(limit)


def _verdict(name: str, limit: float, row: Row, readings: Readings, options: GateOptions) -> GateVerdict:
    reading = readings[name](row)
    margin = reason = None
    verdict = FAIL
    if reading.value is None:
        reason = "not measured"
    else:
        margin = limit - reading.value if name.startswith("max_") else reading.value - limit
        verdict = PASS if margin >= 0 else FAIL
        if margin < 0 and reading.better is not None and reading.better >= limit:
            verdict, reason = UNDECIDED, f"its interval, {reading.value:.3g} to {reading.better:.3g}, holds the limit"
        if not marks.is_valid(reading.verdict):
            reason = f"timing {reading.verdict}"
            if options.accept_disturbed:
                reason += _ACCEPTED
            else:
                verdict = FAIL if options.require_valid else NOT_JUDGED
    return {
        "gate": name,
        "backend": row["backend"],
        "precision": row["precision"],
        "limit": limit,
        "value": reading.value,
        "of": reading.of,
        "margin": margin,
        "verdict": verdict,
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
        if ratio is None:
            return Reading(None, "speed-up, no interval")
        verdict = marks.speedup(row, mode)
        if bounds is not None:
            return Reading(bounds[0], "lower bound of the speed-up", bounds[1], verdict)
        return Reading(ratio, "speed-up, no interval", None, verdict)

    return read


def _over_float(row: Row) -> Reading:
    over = (row.get("over_float") or {}).get("runtime")
    if over is None:
        return Reading(None, "speed-up over the best float engine")
    against, verdict = title_of(over["against"]), marks.over_float(row, "runtime")
    if over["low"] is None:
        return Reading(over["median"], f"speed-up over {against}, no interval", None, verdict)
    return Reading(over["low"], f"lower bound of the speed-up over {against}", over["high"], verdict)


def _median(mode: str) -> Callable[[Row], Reading]:
    def read(row: Row) -> Reading:
        latency = row["latency"][mode]
        if latency is None:
            return Reading(None, "median, ms")
        return Reading(latency["median_ms"], "median, ms", None, marks.timing(row, mode))

    return read


def _size(row: Row) -> Reading:
    return Reading(None if row["engine_bytes"] is None else row["engine_bytes"] / 1e6, "MB")


def _size_ratio(row: Row) -> Reading:
    return Reading(cast(ChallengerRow, row)["size_ratio"], "size / the champion's")


def _share(row: Row) -> Reading:
    return Reading(row["int8_share"], "share of multiply-adds")


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
