"""What a timing tells the run: its numbers as metrics, and what cannot be believed as warnings."""

from __future__ import annotations

from typing import Any

from stages.contract import StageContext
from stages.latency import limits
from stages.latency.timed_engine import END2END, RUNTIME
from stages.latency.validity import VALID


def emit(result: dict[str, Any], context: StageContext) -> None:
    """Report the content of ``latency.json``."""
    prefix = f"latency.{result['backend']}"
    for precision, found in result["engines"].items():
        for name in ("p50_ms", "mean_ms", "p90_ms", "p99_ms"):
            context.metric(f"{prefix}.{precision}.{name}", found[RUNTIME][name])
            context.metric(f"{prefix}.{precision}.end2end.{name}", found[END2END][name])
        context.metric(f"{prefix}.{precision}.load_s", found["cold_start"]["load_s"])
        if found["memory"]["peak_mb"] is not None:
            context.metric(f"{prefix}.{precision}.peak_mb", found["memory"]["peak_mb"])
        for mode in (RUNTIME, END2END):
            verdict = found[mode]["validity"]["verdict"]
            if verdict != VALID:
                context.warn(f"{result['backend']} {precision} {mode}: {verdict}")
    unsure = {name: ratio["verdict"] for name, ratio in limits.named(result).items() if ratio["verdict"] != VALID}
    for said in dict.fromkeys(unsure.values()):
        named = ", ".join(name for name, verdict in unsure.items() if verdict == said)
        context.warn(f"{result['backend']} speed-up ({named}): {said}")
    # INT8's under the name that it had before there were other variants, and below under its own.
    _emit_ratios(prefix, "speedup", result.get("speedup", {}), context)
    for precision, ratios in result["over_fp32"].items():
        _emit_ratios(f"{prefix}.{precision}", "over_fp32", ratios, context)
    for precision, ratios in result.get("over_best_float", {}).items():
        _emit_ratios(f"{prefix}.{precision}", "over_best_float", ratios, context)


def _emit_ratios(prefix: str, name: str, ratios: dict[str, Any], context: StageContext) -> None:
    for mode, ratio in ratios.items():
        full = f"{prefix}.{name}" if mode == RUNTIME else f"{prefix}.{mode}.{name}"
        context.metric(full, ratio["median"])
        for bound in ("low", "high"):
            if ratio[bound] is not None:
                context.metric(f"{full}_{bound}", ratio[bound])
