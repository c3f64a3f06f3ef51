"""A promotion's evidence as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.report.tables import Table


def render(content: Mapping[str, Any]) -> str:
    """``promotion.md`` of a ``promotion.json`` (see ``stages/champion/judge.py``)."""
    beside = f"champion version {content['champion']['version']}" if content["champion"] else "no champion yet"
    parts = [f"**{verdict(content)}** Run `{content['run_id']}`, {beside}, on {content['hardware']}."]
    parts.append(_engines(content).markdown())
    if content["beside"]:
        parts.append(_beside(content["beside"]))
    if content["gates"]:
        parts.append(_gates(content).markdown())
        parts.append(
            "Where a number has an interval, its worse bound is judged. All engines ran in one go, alternately."
        )
    return "\n\n".join(parts) + "\n"


def verdict(content: Mapping[str, Any]) -> str:
    """One sentence: whether every gate holds, else which do not, with their numbers."""
    failed = [gate for gate in content["gates"] if gate["verdict"] == "fail"]
    if not failed:
        return "Every gate holds." if content["gates"] else "No gate was set."
    subject = "A gate does" if len(failed) == 1 else f"{len(failed)} gates do"
    return f"{subject} not hold: {'; '.join(map(describe_gate, failed))}."


def describe_gate(gate: Mapping[str, Any]) -> str:
    """A failed gate in words."""
    value = "not measured" if gate["value"] is None else f"{gate['value']:.3g}"
    bound = "at most" if gate["gate"].rpartition(".")[2].startswith("max_") else "at least"
    reason = f"; {gate['reason']}" if gate["reason"] and gate["value"] is not None else ""
    return f"{gate['gate']} is {value}, {bound} {gate['limit']:g} ({gate['of']}{reason})"


def _engines(content: Mapping[str, Any]) -> Table:
    rows = [
        [
            f"{name} ({engine['backend']} {engine['precision'].upper()})",
            _number(engine["map"], ".1f"),
            _number(engine["runtime_ms"], ".2f"),
            _number(engine["end2end_ms"], ".2f"),
            _number(engine["bytes"] / 1e6, ".1f"),
            _number(engine["int8_share"], ".2f"),
        ]
        for name, engine in content["engines"].items()
    ]
    return Table("Side by side", ["Engine", "mAP", "Runtime, ms", "End2End, ms", "MB", "INT8 share"], rows)


def _gates(content: Mapping[str, Any]) -> Table:
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


def _beside(beside: Mapping[str, Any]) -> str:
    lines = []
    if beside.get("map"):
        lines.append(f"- mAP: {_ranged(beside['map'], 'value', '+.2f')} points against the champion")
    for mode, name in (("runtime", "Runtime"), ("end2end", "End2End")):
        lines.append(f"- {name}: {_ranged(beside[mode], 'median', '.3f')} times as fast as the champion")
    lines.append(f"- Size: {beside['size']:.3f} times the champion's")
    return "\n".join(lines)


def _ranged(numbers: Mapping[str, Any], key: str, form: str) -> str:
    if numbers["low"] is None:
        return f"{numbers[key]:{form}} (no interval)"
    return f"{numbers[key]:{form}} (95 %: {numbers['low']:{form}} to {numbers['high']:{form}})"


def _number(value: float | None, form: str) -> str:
    return "None" if value is None else format(value, form)
