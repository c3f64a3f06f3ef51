"""Which engine to ship: over all backends the fastest one whose loss of mAP and whose agreement hold.

An INT8 engine has to beat the fastest float engine with certainty, or that one is named: it was had for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stages.numerics.variants import is_float
from stages.report import marks, points
from stages.report.compare_runs import ratio
from stages.report.gates import largest_drop
from stages.report.rows import BASE
from stages.report.schema import Row, Ship
from stages.report.schema_engines import Bounds, OverFloat
from stages.report.tables import engine_name, row_name

MAX_DROP = 1.0
"""Points of mAP that may be lost where ``gate.max_map_drop`` does not say."""


def choose_ship(rows: Sequence[Row], max_drop: float | None = None) -> Ship | None:
    """The engine to ship; ``None`` where there is no choice: fewer than two engines were timed.

    Engines of one backend were timed in turns, so the interval of their ratio is that of the rounds' ratios. Of two
    backends it is Welch's (`stages/report/compare_runs.py`), which is wider.

    Args:
        max_drop: largest upper bound of the drop of mAP, in points.
    """
    limit = MAX_DROP if max_drop is None else max_drop
    timed = sorted((row for row in rows if row["latency"]["runtime"]), key=runtime_ms)
    if len(timed) < 2:
        return None
    refused = {row_name(row): why for row in timed if (why := _refusal(row, limit))}
    fit = [row for row in timed if row_name(row) not in refused]
    floats, quantized = [r for r in fit if is_float(r["precision"])], [r for r in fit if not is_float(r["precision"])]
    if not fit:
        return None
    best = floats[0] if floats else None
    beating = [row for row in quantized if best is None or _is_faster(over(best, row))]
    chosen = beating[0] if beating else fit[0] if best is None else best
    sentence = " ".join([*_said(chosen, best, quantized, rows, limit), *_of_refused(refused)])
    return {
        "backend": chosen["backend"],
        "precision": chosen["precision"],
        "runtime_ms": runtime_ms(chosen),
        "over_fp32": _over_fp32(chosen),
        "over_best_float": None if best is None or best is chosen else over(best, chosen),
        "drop": None if chosen["precision"] == BASE else largest_drop(chosen).value,
        "sentence": sentence,
    }


def runtime_ms(row: Row) -> float:
    """The median of a timed row, milliseconds."""
    runtime = row["latency"]["runtime"]
    assert runtime is not None, "only timed rows are asked"
    return float(runtime["median_ms"])


def over(best: Row, row: Row) -> OverFloat:
    """How many times faster ``row`` is than a float engine, by Runtime; ``against`` names that one."""
    against = row_name(best)
    own = (row.get("over_float") or {}).get("runtime")
    if own is not None and (best["backend"], best["precision"]) == (row["backend"], own["against"]):
        return {**own, "against": against}
    rounds = [(latency.get("rounds_ms") or []) if (latency := r["latency"]["runtime"]) else [] for r in (row, best)]
    found = ratio(runtime_ms(row), rounds[0], runtime_ms(best), rounds[1])
    bounds: OverFloat = {"against": against, "median": found["change"], "low": found["low"], "high": found["high"]}
    invalid = next((v for r in (row, best) if not marks.is_valid(v := marks.timing(r, "runtime"))), None)
    # Two backends are not timed in turns: their ratio is no better than the times are.
    return bounds if invalid is None else {**bounds, "verdict": invalid}


def bounded(value: Bounds) -> str:
    """``1.74× (1.70 to 1.78)``."""
    interval = "" if value["low"] is None else f" ({value['low']:.2f} to {value['high']:.2f})"
    return f"{value['median']:.2f}×{interval}"


def _is_faster(ratio: Bounds) -> bool:
    return ratio["low"] is not None and ratio["low"] > 1


def _refusal(row: Row, limit: float) -> str | None:
    """Why an engine is not to be shipped, however fast it is."""
    if row["status"] != "ok":
        return (row["error"] or row["status"]).split("\n")[0]
    drop = None if row["precision"] == BASE else largest_drop(row).value
    if drop is not None and drop > limit:
        return f"its mAP may be {points.at_most(drop, limit)} points below FP32's (at most {limit:g})"
    return None


def _over_fp32(row: Row) -> Bounds | None:
    median, bounds = row["speedup"]["runtime"], row["speedup_interval"]["runtime"]
    if median is None:
        return None
    return {"median": median, "low": bounds[0] if bounds else None, "high": bounds[1] if bounds else None}


def _said(chosen: Row, best: Row | None, quantized: Sequence[Row], rows: Sequence[Row], limit: float) -> Iterator[str]:
    facts = [f"{runtime_ms(chosen):.2f} ms"]
    if (fp32 := _over_fp32(chosen)) is not None:
        facts.append(f"{bounded(fp32)} the speed of FP32")
    if best is not None and best is not chosen:
        facts.append(f"{bounded(over(best, chosen))} that of the fastest float engine, {row_name(best)}")
    facts += _of_scores(chosen, limit)
    yield f"Ship {row_name(chosen)}: {', '.join(facts)}."
    beaten: OverFloat | None = None
    if not is_float(chosen["precision"]) or best is None:
        pass
    elif quantized:
        beaten = over(best, quantized[0])
        yield f"No INT8 engine is faster with certainty: {row_name(quantized[0])} has {bounded(beaten)} its speed."
    elif any(not is_float(row["precision"]) for row in rows):
        yield "No INT8 engine is fit to be shipped."
    verdict = marks.of_ratio(over(best, chosen)) if best is not None and best is not chosen else None
    if not marks.is_valid(verdict if verdict is not None else marks.speedup(chosen, "runtime")):
        yield "That ratio was measured while disturbed, so measure again before you rely on it."
    elif beaten is not None and not marks.is_valid(marks.of_ratio(beaten)):
        yield "How INT8 compares was measured while disturbed, so measure again before you rely on it."
    elif not marks.is_valid(marks.timing(chosen, "runtime")):
        yield "The milliseconds were measured while disturbed; the ratios can be relied on."


def _of_scores(row: Row, limit: float) -> Iterator[str]:
    if row["precision"] == BASE:
        return
    drop = largest_drop(row)
    if drop.value is None:
        yield "its mAP was not measured"
    else:
        yield f"mAP {row['map']:.1f}, at most {points.at_most(max(drop.value, 0.0), limit)} points below FP32"
    if row["agreement"] is None:
        yield "not compared with the exported graph"


def _of_refused(refused: dict[str, str]) -> Iterator[str]:
    for name, why in refused.items():
        yield f"{name} is left out: {why}."


def ship_name(ship: Ship) -> str:
    """The name of the engine."""
    return engine_name(ship["backend"], ship["precision"])
