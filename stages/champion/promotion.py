"""A promotion's evidence: what ``promotion.json`` holds (see `stages/champion/judge.py`), and the same as Markdown."""

from __future__ import annotations

from typing import TypedDict

from stages.numerics.variants import title_of
from stages.report.markdown_text import code, escape
from stages.report.schema import GateVerdict
from stages.report.schema_accuracy import Difference
from stages.report.schema_engines import Bounds
from stages.report.tables import NOTHING, Table


class ChampionName(TypedDict, total=False):
    """Empty where there was no champion."""

    version: str
    run_id: str


class JudgedEngine(TypedDict):
    backend: str
    precision: str
    map: float | None
    runtime_ms: float | None
    end2end_ms: float | None
    bytes: int
    int8_share: float | None


class Beside(TypedDict, total=False):
    """The challenger against the champion; empty without one."""

    map: Difference | None
    size: float
    runtime: Bounds
    end2end: Bounds


class PromotionContent(TypedDict):
    schema_version: int
    run_id: str
    hardware: str
    images_digest: str
    champion: ChampionName
    passed: bool
    gates: list[GateVerdict]
    failed: list[str]
    engines: dict[str, JudgedEngine]
    beside: Beside


def render(content: PromotionContent) -> str:
    """``promotion.md`` of a ``promotion.json`` (see ``stages/champion/judge.py``)."""
    champion = content["champion"]
    beside = f"champion version {escape(champion['version'])}" if champion else "no champion yet"
    where = f"Run {code(content['run_id'])}, {beside}, on {escape(content['hardware'])}."
    parts = [f"**{escape(verdict(content))}** {where}"]
    parts.append(_engines(content).markdown())
    if content["beside"]:
        parts.append(_beside(content["beside"]))
    if content["gates"]:
        parts.append(_gates(content).markdown())
        parts.append(
            "Where a number has an interval, its worse bound is judged. All engines ran in one go, alternately."
        )
    return "\n\n".join(parts) + "\n"


def verdict(content: PromotionContent) -> str:
    """One sentence: whether every gate holds, else which do not, with their numbers."""
    failed = [gate for gate in content["gates"] if gate["verdict"] == "fail"]
    if not failed:
        return "Every gate holds." if content["gates"] else "No gate was set."
    subject = "A gate does" if len(failed) == 1 else f"{len(failed)} gates do"
    return f"{subject} not hold: {'; '.join(map(describe_gate, failed))}."


def describe_gate(gate: GateVerdict) -> str:
    """A failed gate in words."""
    value = "not measured" if gate["value"] is None else f"{gate['value']:.3g}"
    bound = "at most" if gate["gate"].rpartition(".")[2].startswith("max_") else "at least"
    reason = f"; {gate['reason']}" if gate["reason"] and gate["value"] is not None else ""
    return f"{gate['gate']} is {value}, {bound} {gate['limit']:g} ({gate['of']}{reason})"


def _engines(content: PromotionContent) -> Table:
    rows = [
        [
            f"{name} ({engine['backend']} {title_of(engine['precision'])})",
            _number(engine["map"], ".1f"),
            _number(engine["runtime_ms"], ".2f"),
            _number(engine["end2end_ms"], ".2f"),
            _number(engine["bytes"] / 1e6, ".1f"),
            _number(engine["int8_share"], ".2f"),
        ]
        for name, engine in content["engines"].items()
    ]
    return Table("Side by side", ["Engine", "mAP", "Runtime, ms", "End2End, ms", "MB", "INT8 share"], rows)


def _gates(content: PromotionContent) -> Table:
    rows = [
        [
            gate["verdict"],
            gate["gate"],
            f"{gate['limit']:g}",
            _number(gate["value"], ".3g"),
            _number(gate["margin"], "+.3g"),
            gate["of"] + (f"; {gate['reason']}" if gate["reason"] else ""),
        ]
        for gate in content["gates"]
    ]
    return Table("Gates", ["Verdict", "Gate", "Limit", "Value", "Margin", "Of"], rows)


def _beside(beside: Beside) -> str:
    lines = []
    if scores := beside.get("map"):
        text = _ranged(scores["value"], scores["low"], scores["high"], "+.2f")
        lines.append(f"- mAP: {text} points against the champion")
    for name, times in (("Runtime", beside["runtime"]), ("End2End", beside["end2end"])):
        text = _ranged(times["median"], times["low"], times["high"], ".3f")
        lines.append(f"- {name}: {text} times as fast as the champion")
    lines.append(f"- Size: {beside['size']:.3f} times the champion's")
    return "\n".join(lines)


def _ranged(value: float, low: float | None, high: float | None, form: str) -> str:
    if low is None or high is None:
        return f"{value:{form}} (no interval)"
    return f"{value:{form}} (95 %: {low:{form}} to {high:{form}})"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)
