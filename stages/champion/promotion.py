"""A promotion's evidence: what ``promotion.json`` holds (see `stages/champion/judge.py`), and the same as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from stages.numerics.variants import title_of
from stages.report import marks
from stages.report.markdown_text import code, escape
from stages.report.schema import GateVerdict
from stages.report.schema_accuracy import Difference
from stages.report.schema_engines import Bounds
from stages.report.tables import NOTHING, Table

if TYPE_CHECKING:
    from typing_extensions import NotRequired


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
    validity: NotRequired[dict[str, str | None]]
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
    undecided: NotRequired[list[str]]
    not_judged: NotRequired[list[str]]
    accepted_disturbed: NotRequired[list[str]]
    """These three, and ``validity``, are absent from what was written before ratios had verdicts."""
    measured: NotRequired[int]
    """How often the engines were timed until this came out, where that was more than once."""
    engines: dict[str, JudgedEngine]
    beside: Beside


def render(content: PromotionContent) -> str:
    """``promotion.md`` of a ``promotion.json`` (see ``stages/champion/judge.py``)."""
    champion = content["champion"]
    beside = f"champion version {escape(champion['version'])}" if champion else "no champion yet"
    where = f"Run {code(content['run_id'])}, {beside}, on {escape(content['hardware'])}."
    parts = [f"**{escape(verdict(content))}** {where}"]
    if (times := content.get("measured", 1)) > 1:
        parts.append(f"The engines were timed {times} times: the timings before were disturbed.")
    parts.append(_engines(content).markdown())
    if content["beside"]:
        parts.append(_beside(content["beside"]))
    if content["gates"]:
        parts.append(_gates(content).markdown())
        parts.append(
            "Where a number has an interval, its worse bound is judged. All engines ran in one go, alternately. A "
            "star: measured while disturbed. A ratio may be valid where the times are not."
        )
    return "\n\n".join(parts) + "\n"


def verdict(content: PromotionContent) -> str:
    """In a few sentences: whether every gate holds, else which do not, with their numbers, and what was accepted."""
    parts = []
    for kind, one, several in _SAID:
        gates = [gate for gate in content["gates"] if gate["verdict"] == kind]
        if gates:
            subject = one if len(gates) == 1 else f"{len(gates)} {several}"
            parts.append(f"{subject}: {'; '.join(map(describe_gate, gates))}.")
    if not parts:
        parts.append("Every gate holds." if content["gates"] else "No gate was set.")
    if accepted := content.get("accepted_disturbed"):
        parts.append(f"Judged by a disturbed timing, as gate.accept_disturbed=true asks: {', '.join(accepted)}.")
    return " ".join(parts)


_SAID = (
    ("fail", "A gate does not hold", "gates do not hold"),
    ("undecided", "A gate is undecided", "gates are undecided"),
    ("not judged", "A gate could not be judged", "gates could not be judged"),
)
"""Verdict -> what is said of one such gate, and of several."""


def in_short(content: PromotionContent) -> str:
    """``passed``, or the names of the gates that do not hold: ``failed: a, b; not judged: c``."""
    kinds = {
        "failed": content["failed"],
        "undecided": content.get("undecided"),
        "not judged": content.get("not_judged"),
    }
    found = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    return found or "passed"


def disturbed(content: PromotionContent) -> bool:
    """Whether nothing but a disturbed timing stands in the way, so that measuring again may help.

    A ratio may be valid while other processes disturb both times, but its interval is wider then: what is undecided
    may be decided on a quieter machine.
    """
    if content["passed"] or content["failed"]:
        return False
    verdicts = [v for engine in content["engines"].values() for v in (engine.get("validity") or {}).values()]
    times = not all(map(marks.is_valid, verdicts))
    return bool(content.get("not_judged")) or (times and bool(content.get("undecided")))


def describe_gate(gate: GateVerdict) -> str:
    """A gate that does not hold in words."""
    value = "not measured" if gate["value"] is None else f"{gate['value']:.3g}"
    bound = "at most" if gate["gate"].rpartition(".")[2].startswith("max_") else "at least"
    reason = f"; {gate['reason']}" if gate["reason"] and gate["value"] is not None else ""
    return f"{gate['gate']} is {value}, {bound} {gate['limit']:g} ({gate['of']}{reason})"


def _engines(content: PromotionContent) -> Table:
    rows = [
        [
            f"{name} ({engine['backend']} {title_of(engine['precision'])})",
            _number(engine["map"], ".1f"),
            *(
                _number(ms, ".2f") + ("" if ms is None else marks.star((engine.get("validity") or {}).get(mode)))
                for mode, ms in (("runtime", engine["runtime_ms"]), ("end2end", engine["end2end_ms"]))
            ),
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
        said = marks.while_disturbed(marks.of_ratio(times))
        lines.append(f"- {name}: {text} times as fast as the champion{said and ' ' + escape(said)}")
    lines.append(f"- Size: {beside['size']:.3f} times the champion's")
    return "\n".join(lines)


def _ranged(value: float, low: float | None, high: float | None, form: str) -> str:
    if low is None or high is None:
        return f"{value:{form}} (no interval)"
    return f"{value:{form}} (95 %: {low:{form}} to {high:{form}})"


def _number(value: float | None, form: str) -> str:
    return NOTHING if value is None else format(value, form)
