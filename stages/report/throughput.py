"""Throughput for the report: words and table of the ``throughput.json`` of each backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from stages.artifacts import ThroughputResult
from stages.outside import records
from stages.report import marks
from stages.report.schema import ReportContent
from stages.report.schema_engines import Bounds
from stages.report.schema_throughput import EngineThroughput, ScenarioThroughput, ThroughputContent
from stages.report.tables import NOTHING, Table, digits, engine_name

TITLES = {"offline": "Offline", "multi_stream": "Multi-stream", "server": "Server"}
"""Scenario -> as tables call it."""


def read(results: Sequence[ThroughputResult]) -> list[ThroughputContent]:
    """The content of each."""
    return [records.read(result.path("throughput.json"), ThroughputContent) for result in results]


def table(report: ReportContent) -> Table:
    """A line per engine and scenario; none without throughput."""
    header = [
        "Engine", "Scenario", "Streams × threads × batch", "Images per s", "p50, ms", "p99, ms", "Over FP32",
        "Over best float",
    ]  # fmt: skip
    rows = [_row(content, name, scenario) for content in _measured(report) for name, scenario, _ in _cells(content)]
    return Table("Throughput", header, rows)


def explained(report: ReportContent) -> str:
    """How it was measured."""
    measured = _measured(report)
    if not measured:
        return ""
    cpus = max(len(content["affinity"]) for content in measured)
    batches = sorted({content["batch"] for content in measured})
    batch = ", ".join(map(str, batches))
    budgets = "; ".join(
        f"{content['backend']} {digits(content['budget_ms'], 1)} ms ({content['budget_from']})" for content in measured
    )
    return (
        f"The engine alone on {cpus or 'all'} CPUs, several inferences at once, each stream in a thread with its own "
        f"CPU threads; a batch of {batch}, as the model was exported (export.batch). Offline: every stream is always "
        "busy. Multi-stream: as many requesters as streams, each of which asks again when it has its answer, with the "
        f"99th percentile of their latency within a budget: {budgets}. Server: requests arrive at random times and "
        "wait in one queue, within the same budget. A ratio is of images a second, timed in turns; in brackets its "
        "95 % interval. A star: not valid, or too few requests for that percentile."
    )


def short_table(report: ReportContent) -> Table:
    """The same in few columns that fit a terminal: streams × threads in one, ratios without their intervals."""
    header = ["Engine", "Load", "Shape", "Images/s", "p99, ms", "Over FP32"]
    rows = []
    for content in _measured(report):
        for name, scenario, own in _cells(content):
            ratio = dict(_ratios(content, name, scenario)).get("over FP32")
            star = "" if own is None else marks.star(own["validity"]["verdict"])
            rows.append(
                [
                    engine_name(content["backend"], name),
                    TITLES[scenario],
                    NOTHING if own is None else f"{own['streams']} × {own['threads']}",
                    digits(own and own["images_per_s"], 1) + star,
                    digits(own and own["p99_ms"], 1) + ("" if own is None else marks.star(own["p99_validity"])),
                    NOTHING if ratio is None else f"{ratio['median']:.2f}{marks.star(marks.of_ratio(ratio))}",
                ]
            )
    return Table("Throughput", header, rows)


def notes(report: ReportContent) -> list[str]:
    """What `missing` and `invalid` say."""
    return missing(report) + invalid(report)


def missing(report: ReportContent) -> list[str]:
    """A sentence for each backend that has no throughput, and each budget that was missed."""
    found = [
        f"{content['backend']}: no throughput; {content['not_offered']}"
        for content in report.get("throughput", ())
        if content["not_offered"]
    ]
    for content in _measured(report):
        for name, scenario, own in _cells(content):
            title = _title(content, name, scenario)
            if own is None and scenario == "server" and content["engines"][name]["multi_stream"]:
                found.append(f"{title}: requests that arrive at random stay within the budget at no rate worth timing")
            elif own is None:
                least = min(tried["p99_ms"] for tried in content["engines"][name]["tried"])
                found.append(f"{title}: nothing stays within the budget; the least p99 was {least:.1f} ms")
            elif not own.get("within", True):
                found.append(f"{title}: its p99 was over the budget when it was timed")
    return found


def invalid(report: ReportContent) -> list[str]:
    """A sentence for each number that is not valid."""
    found = []
    for content in _measured(report):
        for name, scenario, own in _cells(content):
            title = _title(content, name, scenario)
            if own is not None and not marks.is_valid(own["validity"]["verdict"]):
                found.append(f"{title}: {own['validity']['verdict']}")
            for kind, ratio in _ratios(content, name, scenario):
                if not marks.is_valid(marks.of_ratio(ratio)):
                    found.append(f"{title}, {kind}: {marks.of_ratio(ratio)}")
    return found


def _title(content: ThroughputContent, name: str, scenario: str) -> str:
    return f"{engine_name(content['backend'], name)}, {TITLES[scenario]}"


def _measured(report: ReportContent) -> list[ThroughputContent]:
    return [content for content in report.get("throughput", ()) if content["engines"]]


def _cells(content: ThroughputContent) -> Iterator[tuple[str, str, ScenarioThroughput | None]]:
    for scenario in TITLES:
        for name, found in content["engines"].items():
            yield name, scenario, _of(found, scenario)


def _of(found: EngineThroughput, scenario: str) -> ScenarioThroughput | None:
    return {"offline": found["offline"], "multi_stream": found["multi_stream"], "server": found["server"]}[scenario]


def _row(content: ThroughputContent, name: str, scenario: str) -> list[str]:
    own = _of(content["engines"][name], scenario)
    start = [engine_name(content["backend"], name), TITLES[scenario]]
    if own is None:
        return [*start, *[NOTHING] * 6]
    ratios = dict(_ratios(content, name, scenario))
    return [
        *start,
        f"{own['streams']} × {own['threads']} × {content['batch']}",
        digits(own["images_per_s"], 1) + marks.star(own["validity"]["verdict"]),
        digits(own["p50_ms"], 2) + marks.star(own["validity"]["verdict"]),
        digits(own["p99_ms"], 2) + marks.star(own["p99_validity"]),
        *(_ratio(ratios.get(kind)) for kind in ("over FP32", "over best float")),
    ]


def _ratios(content: ThroughputContent, name: str, scenario: str) -> Iterator[tuple[str, Bounds]]:
    kinds: dict[str, Mapping[str, Mapping[str, Bounds]]] = {
        "over FP32": content["over_fp32"],
        "over best float": content["over_best_float"],
    }
    for kind, found in kinds.items():
        ratio = found.get(name, {}).get(scenario)
        if ratio is not None:
            yield kind, ratio


def _ratio(ratio: Bounds | None) -> str:
    if ratio is None:
        return NOTHING
    text = f"{ratio['median']:.2f}{marks.star(marks.of_ratio(ratio))}"
    return text if ratio["low"] is None else f"{text} ({ratio['low']:.2f} to {ratio['high']:.2f})"
