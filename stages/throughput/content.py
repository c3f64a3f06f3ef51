"""What ``throughput.json`` says of timings: statistics, verdicts, ratios; and the metrics and warnings of it."""

from __future__ import annotations

import math
from typing import Any

from stages.contract import StageContext
from stages.latency import limits
from stages.latency.ratio import judged
from stages.latency.speedups import over_best_float, over_fp32
from stages.latency.timing import Series, summary
from stages.latency.validity import VALID, Limits, is_disturbed, verdict
from stages.throughput.scenarios import MULTI_STREAM, SCENARIOS, SERVER, Timing, Tried, simulated


def tried_shapes(tried: Tried, name: str, batch: int) -> list[dict[str, Any]]:
    """The shapes of an engine and what it did there."""
    return [
        {
            "streams": shape.streams,
            "threads": shape.threads,
            "images_per_s": batch * point.rate,
            "p50_ms": point.p50_ms,
            "p99_ms": point.p99_ms,
            "requests": len(point.latencies),
        }
        for shape, point in tried[name].items()
    ]


def scenario(timing: Timing, name: str, batch: int, cpus: list[int], bounds: Limits) -> dict[str, Any]:
    """One engine in one scenario."""
    if timing.rates:  # how many requests arrive in a round, and wait, is chance and no drift
        bounds = Limits(bounds.foreign, math.inf)
    shape, requests = timing.shapes[name], timing.of_requests(name)
    statistics = summary(requests.all())
    return {
        "streams": shape.streams,
        "threads": shape.threads,
        "images_per_s": batch * timing.rate(name),
        "rounds_images_per_s": [batch * rate for rate in timing.per_round(name)],
        "requests": statistics["count"],
        **{key: statistics[key] for key in ("p50_ms", "p90_ms", "p99_ms", "mean_ms")},
        "window": timing.window,
        "validity": verdict(timing.series[name], cpus, bounds),
        "p99_validity": verdict(requests, cpus, bounds)["cells"]["p99_ms"],
        **({"arriving_per_s": timing.rates[name]} if name in timing.rates else {}),
    }


def ratios(timings: dict[str, Timing], budget: float, cpus: list[int], bounds: Limits) -> dict[str, Any]:
    """Every ratio, each with its verdict."""
    closed = {s: timing for s, timing in timings.items() if s != SERVER}
    series = {(name, s): own for s, timing in closed.items() for name, own in timing.series.items()}
    arrived = timings.get(SERVER)
    held: dict[int, float] = {}
    if arrived is not None:
        spaced = simulated(timings[MULTI_STREAM], budget)
        series |= {(name, SERVER): spaced[name] for name in arrived.series if spaced[name].all().size}
        held = {id(spaced[name]): arrived.rate(name) for name in arrived.series}

    def compare(base: Series, other: Series) -> dict[str, Any]:
        ratio = judged(base, other, cpus, bounds)
        if id(base) in held and ratio["low"] is not None:
            measured = held[id(other)] / held[id(base)]
            ratio |= {"low": min(ratio["low"], measured), "high": max(ratio["high"], measured)}
        return ratio

    return {"over_fp32": over_fp32(series, compare), "over_best_float": over_best_float(series, compare)}


def disturbed(result: dict[str, Any]) -> list[str]:
    """A sentence for each number that something disturbed."""
    verdicts = {
        f"{name} {scenario}": found[scenario]["validity"]["verdict"]
        for name, found in result["engines"].items()
        for scenario in SCENARIOS
        if found[scenario]
    }
    verdicts |= {name: ratio["verdict"] for name, ratio in limits.named(result).items()}
    return [f"{name}: {verdict}" for name, verdict in verdicts.items() if is_disturbed(verdict)]


def emit(result: dict[str, Any], context: StageContext) -> None:
    """The numbers as metrics, and what cannot be believed as warnings."""
    prefix = f"throughput.{result['backend']}"
    for name, found in result["engines"].items():
        for scenario in SCENARIOS:
            if not (own := found[scenario]):
                continue
            context.metric(f"{prefix}.{name}.{scenario}.images_per_s", own["images_per_s"])
            context.metric(f"{prefix}.{name}.{scenario}.p99_ms", own["p99_ms"])
            if (said := own["validity"]["verdict"]) != VALID:
                context.warn(f"{result['backend']} {name} {scenario}: {said}")
    for kind in ("over_fp32", "over_best_float"):
        for name, ratios in result[kind].items():
            for scenario, ratio in ratios.items():
                full = f"{prefix}.{name}.{scenario}.{kind}"
                context.metric(full, ratio["median"])
                for bound in ("low", "high"):
                    if ratio[bound] is not None:
                        context.metric(f"{full}_{bound}", ratio[bound])
    for name, ratio in limits.named(result).items():
        if ratio["verdict"] != VALID:
            context.warn(f"{result['backend']} throughput ({name}): {ratio['verdict']}")
