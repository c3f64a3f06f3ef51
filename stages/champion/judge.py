"""Stage ``judge``: whether a challenger may take the champion's place, with the numbers that say so.

``promotion.json``::

    schema_version, run_id, hardware, images_digest
    champion      {"version", "run_id"}; empty where there was none
    passed        whether every gate holds
    gates         see ``stages/report/gates.py``; those beside the champion are named ``champion.GATE``
    failed        the names of those that do not hold
    engines       name -> {"precision", "backend", "map", "runtime_ms", "end2end_ms", "bytes", "int8_share"}
    beside        what the challenger is to the champion: {"map": {"value", "low", "high"},
                  "runtime", "end2end": {"median", "low", "high"}: the champion's time / the challenger's, "size"}

``promotion.md`` tells the same to people.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, cast

from stages.artifacts import AccuracyResult, Comparison, Engine, Judgement, LatencyResult, Precision, hash_files
from stages.champion import promotion
from stages.contract import StageContext
from stages.errors import StageError
from stages.options.champion import JudgeOptions
from stages.report.gates import FAIL, evaluate_gates, judge_beside
from stages.report.rows import BASE, MODES, Row, build_rows

SCHEMA_VERSION = 1
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
    version: ClassVar[int] = 1
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
        gates = evaluate_gates([row for name, row in rows.items() if name in (BASE, o.names[-1])], o.gate)
        beside: dict[str, Any] = {}
        if CHAMPION in rows:
            seen = _seen_beside(challenger, rows[CHAMPION], inputs, o.names)
            gates += judge_beside(seen, o.gate)
            beside = {"map": seen["difference"].get("map"), "size": seen["size_ratio"], **seen["ratio"]}
        for gate in gates:
            gate["precision"] = str(inputs.engines[-1].precision)
        content: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": o.run_id,
            "hardware": o.hardware,
            "images_digest": o.images_digest,
            "champion": o.champion,
            "passed": all(gate["verdict"] != FAIL for gate in gates),
            "gates": gates,
            "failed": [gate["gate"] for gate in gates if gate["verdict"] == FAIL],
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
            [dataclasses.replace(c, other=cast(Precision, names[-1])) for c in base],
            [],
            self.options.hardware,
        )
        return {row["precision"]: row for row in rows}


def _named(made: Sequence[Made], names: Sequence[str]) -> list[Made]:
    """Rows are told apart by their precision; here the names stand in its place."""
    return [dataclasses.replace(m, precision=cast(Precision, n)) for m, n in zip(made, names, strict=True)]


def _seen_beside(challenger: Row, champion: Row, inputs: JudgeInputs, names: Sequence[str]) -> Row:
    """The challenger's row with everything against the champion (see ``gates.judge_beside``)."""
    against = json.loads(inputs.latency.path("latency.json").read_text(encoding="utf-8"))["against"][CHAMPION]
    difference: dict[str, Any] = {}
    classes: list[Any] = []
    for comparison, name in zip(inputs.comparisons, names, strict=False):
        if name == CHAMPION:
            content = json.loads(comparison.path("compare.json").read_text(encoding="utf-8"))
            difference = {k: v for k, v in content["difference"].items() if v is not None}
            classes = content["per_class"]
    verdicts = {mode: [row["validity"][mode] for row in (champion, challenger)] for mode in MODES}
    return {
        **challenger,
        "difference": difference,
        "class_differences": classes,
        "speedup": {mode: against[mode]["median"] for mode in MODES},
        "speedup_interval": {
            mode: None if against[mode]["low"] is None else [against[mode]["low"], against[mode]["high"]]
            for mode in MODES
        },
        "validity": {mode: next((v for v in told if v != "valid"), "valid") for mode, told in verdicts.items()},
        "size_ratio": challenger["engine_bytes"] / champion["engine_bytes"],
        "ratio": {mode: {k: against[mode][k] for k in ("median", "low", "high")} for mode in MODES},
    }


def _numbers(engine: Engine, row: Row) -> dict[str, Any]:
    times = {mode: (row["latency"][mode] or {}).get("median_ms") for mode in MODES}
    return {
        "backend": engine.backend,
        "precision": str(engine.precision),
        "map": row["map"],
        **{f"{mode}_ms": value for mode, value in times.items()},
        "bytes": row["engine_bytes"],
        "int8_share": row["int8_share"],
    }


def _emit(content: dict[str, Any], context: StageContext) -> None:
    beside = content["beside"]
    for suffix, key in (("", "value"), (".low", "low"), (".high", "high")):
        if (value := (beside.get("map") or {}).get(key)) is not None:
            context.metric(f"champion.map_difference{suffix}", value)
    for suffix, key in (("", "median"), (".low", "low"), (".high", "high")):
        if (value := (beside.get("runtime") or {}).get(key)) is not None:
            context.metric(f"champion.speedup{suffix}", value)
    for gate in content["gates"]:
        if gate["margin"] is not None:
            context.metric(f"promotion.{gate['gate']}.margin", gate["margin"])
    context.metric("promotion.passed", float(content["passed"]))
