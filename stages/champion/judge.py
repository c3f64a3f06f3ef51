"""Stage ``judge``: whether a challenger may take the champion's place, with the numbers that say so.

``promotion.json``::

    schema_version, run_id, hardware, images_digest
    champion      {"version", "run_id"}; empty where there was none
    passed        whether every gate holds
    gates         see ``stages/report/gates.py``; those beside the champion are named ``champion.GATE``
    failed        the names of those that do not hold
    undecided, not_judged    the names of those whose interval holds the limit, and whose timing was disturbed
    accepted_disturbed       the names of those that were judged by a disturbed timing (``gate.accept_disturbed``)
    engines       name -> {"precision", "backend", "map", "runtime_ms", "end2end_ms", "validity": {"runtime",
                  "end2end"}: the verdicts on these times, "bytes", "int8_share"}
    beside        what the challenger is to the champion: {"map": {"value", "low", "high"}, "runtime", "end2end":
                  {"median", "low", "high", "verdict"}: the champion's time / the challenger's, "size"}

``promotion.md`` tells the same to people.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar, cast

from stages.artifacts import AccuracyResult, Comparison, Engine, Judgement, LatencyResult, hash_files
from stages.champion import promotion
from stages.contract import StageContext
from stages.errors import StageError
from stages.options.champion import JudgeOptions
from stages.report import marks
from stages.report.gates import FAIL, NOT_JUDGED, UNDECIDED, accepted, evaluate_gates, holds, judge_beside
from stages.report.rows import BASE, MODES, build_rows
from stages.report.schema import ChallengerRow, Row
from stages.report.schema_accuracy import ClassDifference, CompareContent, Difference
from stages.report.schema_engines import Bounds, LatencyContent

SCHEMA_VERSION = 2
CHAMPION = "champion"

Made = TypeVar("Made", Engine, AccuracyResult)


@dataclass(frozen=True)
class JudgeInputs:
    """Engines in the order of ``options.names`` (the challenger last), what was measured of them, and the differences.

    ``accuracies`` are in the same order, or empty where there are no labels; ``comparisons`` are those of the
    challenger with each of the others, in their order.
    """

    engines: list[Engine]
    latency: LatencyResult
    accuracies: list[AccuracyResult] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)


class Judge:
    """The stage."""

    name: ClassVar[str] = "judge"
    version: ClassVar[int] = 2
    packages: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type] = JudgeOptions
    Inputs: ClassVar[type] = JudgeInputs
    Output: ClassVar[type[Judgement]] = Judgement

    def __init__(self, options: JudgeOptions) -> None:
        self.options = options

    def run(self, inputs: JudgeInputs, context: StageContext) -> Judgement:
        """Metrics: ``champion.map_difference`` and ``champion.speedup`` with ``.low`` and ``.high``, gates' margins."""
        o = self.options
        if not o.names or len(o.names) != len(inputs.engines):
            raise StageError(f"{len(inputs.engines)} engines were to be judged as {', '.join(o.names)}")
        rows = self._rows(inputs)
        challenger = rows[o.names[-1]]
        # A promotion measures again where it could not judge; what counts as failed would not be.
        gate_options = dataclasses.replace(o.gate, require_valid=False)
        gates = evaluate_gates([row for name, row in rows.items() if name in (BASE, o.names[-1])], gate_options)
        beside: promotion.Beside = {}
        if CHAMPION in rows:
            seen = _seen_beside(challenger, rows[CHAMPION], inputs, o.names)
            gates += judge_beside(seen, gate_options)
            beside = {
                "map": seen["difference"].get("map"),
                "size": seen["size_ratio"],
                "runtime": seen["ratio"]["runtime"],
                "end2end": seen["ratio"]["end2end"],
            }
        for gate in gates:
            gate["precision"] = str(inputs.engines[-1].precision)
        content: promotion.PromotionContent = {
            "schema_version": SCHEMA_VERSION,
            "run_id": o.run_id,
            "hardware": o.hardware,
            "images_digest": o.images_digest,
            "champion": cast(promotion.ChampionName, o.champion),
            "passed": all(map(holds, gates)),
            "gates": gates,
            "failed": [gate["gate"] for gate in gates if gate["verdict"] == FAIL],
            "undecided": [gate["gate"] for gate in gates if gate["verdict"] == UNDECIDED],
            "not_judged": [gate["gate"] for gate in gates if gate["verdict"] == NOT_JUDGED],
            "accepted_disturbed": [gate["gate"] for gate in gates if accepted(gate)],
            "engines": {
                name: _numbers(engine, rows[name]) for name, engine in zip(o.names, inputs.engines, strict=True)
            },
            "beside": beside,
        }
        (context.out / "promotion.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        (context.out / "promotion.md").write_text(promotion.render(content), encoding="utf-8")
        _emit(content, context)
        return Judgement(root=context.out, files=hash_files(context.out), passed=bool(content["passed"]))

    def _rows(self, inputs: JudgeInputs) -> dict[str, Row]:
        """A row per engine under its name; the challenger's differences are those to FP32."""
        names = self.options.names
        base = [c for c, name in zip(inputs.comparisons, names, strict=False) if name == BASE]
        rows = build_rows(
            _named(inputs.engines, names),
            [inputs.latency],
            _named(inputs.accuracies, names) if inputs.accuracies else [],
            [dataclasses.replace(c, other=names[-1]) for c in base],
            [],
            self.options.hardware,
        )
        return {row["precision"]: row for row in rows}


def _named(made: Sequence[Made], names: Sequence[str]) -> list[Made]:
    """Rows are told apart by their precision; here the names stand in its place."""
    return [dataclasses.replace(m, precision=n) for m, n in zip(made, names, strict=True)]


def _seen_beside(challenger: Row, champion: Row, inputs: JudgeInputs, names: Sequence[str]) -> ChallengerRow:
    """The challenger's row with everything against the champion (see ``gates.judge_beside``)."""
    latency: LatencyContent = json.loads(inputs.latency.path("latency.json").read_text(encoding="utf-8"))
    against = latency["against"][CHAMPION]
    difference: dict[str, Difference] = {}
    classes: list[ClassDifference] = []
    for comparison, name in zip(inputs.comparisons, names, strict=False):
        if name == CHAMPION:
            content: CompareContent = json.loads(comparison.path("compare.json").read_text(encoding="utf-8"))
            difference = {k: v for k, v in content["difference"].items() if v is not None}
            classes = content["per_class"]
    verdicts = {mode: _of_times(champion, challenger, mode) for mode in MODES}
    return {
        **challenger,
        "difference": difference,
        "class_differences": classes,
        "speedup": {mode: against[mode]["median"] for mode in MODES},
        "speedup_interval": {mode: _interval(against[mode]) for mode in MODES},
        "validity": verdicts,
        "speedup_validity": {mode: marks.of_ratio(against[mode], verdicts[mode]) for mode in MODES},
        "size_ratio": _size(challenger) / _size(champion),
        "ratio": {mode: _bounds(ratio, verdicts[mode]) for mode, ratio in against.items()},
    }


def _of_times(champion: Row, challenger: Row, mode: str) -> str | None:
    """The verdict on the times of both: why one of them is not valid, if so."""
    verdicts = [row["validity"][mode] for row in (champion, challenger)]
    return next((v for v in verdicts if not marks.is_valid(v)), verdicts[1])


def _bounds(ratio: Bounds, otherwise: str | None) -> Bounds:
    bounds: Bounds = {"median": ratio["median"], "low": ratio["low"], "high": ratio["high"]}
    verdict = marks.of_ratio(ratio, otherwise)
    return bounds if verdict is None else {**bounds, "verdict": verdict}


def _interval(ratio: Bounds) -> list[float] | None:
    return None if ratio["low"] is None or ratio["high"] is None else [ratio["low"], ratio["high"]]


def _size(row: Row) -> int:
    size = row["engine_bytes"]
    assert size is not None, "a row of an engine has its size"
    return size


def _numbers(engine: Engine, row: Row) -> promotion.JudgedEngine:
    runtime, end2end = row["latency"]["runtime"], row["latency"]["end2end"]
    return {
        "backend": engine.backend,
        "precision": str(engine.precision),
        "map": row["map"],
        "runtime_ms": runtime["median_ms"] if runtime else None,
        "end2end_ms": end2end["median_ms"] if end2end else None,
        "validity": {mode: marks.timing(row, mode) for mode in MODES},
        "bytes": _size(row),
        "int8_share": row["int8_share"],
    }


def _emit(content: promotion.PromotionContent, context: StageContext) -> None:
    beside = content["beside"]
    if scores := beside.get("map"):
        _emit_bounded(context, "champion.map_difference", scores["value"], scores["low"], scores["high"])
    if ratio := beside.get("runtime"):
        _emit_bounded(context, "champion.speedup", ratio["median"], ratio["low"], ratio["high"])
    for gate in content["gates"]:
        if gate["margin"] is not None:
            context.metric(f"promotion.{gate['gate']}.margin", gate["margin"])
    context.metric("promotion.passed", float(content["passed"]))


def _emit_bounded(context: StageContext, name: str, value: float, low: float | None, high: float | None) -> None:
    context.metric(name, value)
    if low is not None and high is not None:
        context.metric(f"{name}.low", low)
        context.metric(f"{name}.high", high)
