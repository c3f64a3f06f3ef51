"""What the tracking store shows of a run: names of params and metrics, the description, the files worth a copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pipelines.execution import ids
from stages.numerics.variants import title_of
from stages.outside.names import joined, relative
from stages.report import marks
from stages.report.markdown_text import block, code, escape
from stages.report.schema import ReportContent, Row
from stages.report.throughput import TITLES as SCENARIOS
from stages.report.verdict import verdict, warned

MAX_KEY = 250
MAX_PARAM = 500  # MLflow keeps 6000 characters; a value that long is no longer searched by anyone
MAX_NOTE = 7500  # characters; MLflow keeps 8000 of a tag
MAX_FILE = 1_000_000  # bytes of one copied file
SMALL_SUFFIXES = {".json", ".md", ".yml", ".yaml", ".txt", ".csv", ".html", ".svg", ".png", ".jpg"}

# Part of every options tree, of no use in a table of runs, and long: it is in config.json all the same.
_UNLISTED = {"architecture", "failures", "tracking", "hydra"}


def metric_name(*parts: str) -> str:
    """The parts joined by dots, with the characters that MLflow refuses replaced by ``_``."""
    return re.sub(r"[^\w\-. :/]", "_", ".".join(p for p in parts if p))[:MAX_KEY]


def grouped(name: str) -> str:
    """The name of a metric as MLflow's pages group it, by what stands before a slash: ``map/onnxruntime.int8``."""
    return metric_name(name.replace(".", "/", 1))


def spelled(value: Any) -> str:
    """A value as one would write it in an override: ``true``, ``null``, ``[640,640]``."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple)):
        text = "[" + ",".join(spelled(item) for item in value) + "]"
    elif isinstance(value, Mapping):
        text = "{" + ",".join(f"{k}:{spelled(v)}" for k, v in value.items()) + "}"
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= MAX_PARAM else text[: MAX_PARAM - 1] + "…"


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested options as dotted names; empty values and what is of no use in a table of runs are left out."""
    params: dict[str, str] = {}
    for key, value in options.items():
        if key in _UNLISTED or value is None or value == "" or value == [] or value == {}:
            continue
        name = metric_name(prefix, str(key))
        if isinstance(value, Mapping):
            params.update(flat(value, name))
        else:
            params[name] = spelled(value)
    return params


def readable(value: float) -> float:
    """``value`` with the digits that a page can show: MLflow prints all seventeen. Whole numbers stay exact."""
    return value if value.is_integer() else float(f"{value:.6g}")


def numbers(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested dicts with their dotted names; lists and text are passed over."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from numbers(item, metric_name(prefix, str(key)))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and prefix:
        yield prefix, float(value)


def results_view(before: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The state of MLflow's table of runs that shows the results as columns wide enough for their names.

    Args:
        before: the state so far; its columns stay where they are.
        names: the metrics of a run; the results among them are added.
    """
    precision = "int8" if any(".int8." in name for name in names) else "fp32"
    wanted = re.compile(rf"map/|latency/[^.]+\.({precision}\.p50_ms|{precision}\.over_best_float|speedup)$")
    columns = [*before.get("selectedColumns", ()), *(f"metrics.`{name}`" for name in names if wanted.match(name))]
    widths = {"attributes.`Run Name`": 200, "runDateAndNestInfo": 130, "duration": 90}
    widths |= {column: 26 + 6 * len(column.split("`")[1]) for column in columns}
    # MLflow reads a width only for columns that stand in the order.
    return {"selectedColumns": list(dict.fromkeys(columns)), "columnOrder": list(widths), "columnWidths": widths}


def small_files(artifact: Mapping[str, Any]) -> Iterator[Path]:
    """The files of an artifact record that people look at; models, images and raw samples stay in the store."""
    for name in sorted(artifact["files"]):
        path = joined(Path(artifact["root"]), relative(name, artifact["root"], "files"))
        if "/" not in name and path.suffix in SMALL_SUFFIXES and path.is_file() and path.stat().st_size <= MAX_FILE:
            yield path


def run_note(run: Mapping[str, Any], finished: Mapping[str, Any], report_dir: Path | None) -> str:
    """The description of a pipeline run: its result and its report, or why there is none."""
    report = report_dir / "report.md" if report_dir else None
    if report is not None and report.is_file():
        # MLflow shows the first lines and folds the rest: the result comes before where and how it was measured.
        note = (
            headline(finished["summary"])
            + result_table(finished["summary"].get("rows", []))
            + _promotion_text(report_dir)
            + report.read_text(encoding="utf-8")
        )
        if len(note) > MAX_NOTE:
            cut = note.rfind("\n", 0, MAX_NOTE)
            note = note[:cut] + "\n\nThe whole report is among the run's artifacts: `report.md`."
        return note
    if judged := _promotion_text(report_dir):
        return judged[:MAX_NOTE]
    error = finished["summary"].get("error")
    said = f"\n\n{block(str(error)[:MAX_NOTE])}" if error else ""
    return f"{finished['status'].capitalize()}: {code(run['command'])}{said}"


def headline(summary: Mapping[str, Any]) -> str:
    """Three lines: which engine to use; how fast and how accurate it is; gates and disturbed timings. Empty where the
    summary is no report with engines."""
    if not {"rows", "gates", "failures", "command"} <= set(summary):
        return ""
    report = cast(ReportContent, summary)
    found = verdict(report)
    if found is None:
        return ""
    facts = [f"{card.name} {card.number}" + (f" ({card.badge})" if card.badge else "") for card in found.cards]
    failed = sorted({gate["gate"] for gate in report["gates"] if gate["verdict"] == "fail"})
    gates = f"Gates failed: {', '.join(failed)}" if failed else "All gates pass" if report["gates"] else "No gates"
    disturbed = warned(report)
    timings = f"{disturbed.count} of {disturbed.total} timings disturbed" if disturbed else "no timing disturbed"
    lines = [f"**{escape(found.headline)}.**", f"{escape('; '.join(facts))}.", f"{escape(gates)}; {timings}."]
    return "  \n".join(lines) + "\n\n"  # two spaces: a new line of the same paragraph


def _promotion_text(run_dir: Path | None) -> str:
    """What the judgement beside the champion says, if the run has one."""
    path = run_dir / "promotion.md" if run_dir else None
    return path.read_text(encoding="utf-8") + "\n" if path is not None and path.is_file() else ""


def result_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of ``report.json`` in a few columns of Markdown, the compressed engines first, without those that are
    unavailable; empty without rows."""
    if not rows:
        return ""
    lines = ["| Engine | Latency p50, ms | Speed-up | mAP |", "| --- | ---: | ---: | ---: |"]
    for row in [row for row in reversed(rows) if row["status"] != "unavailable"]:
        name = f"{row['backend']} {title_of(str(row['precision']))}"
        if row["status"] != "ok":
            name += f" ({row['status']})"
        runtime = (row.get("latency") or {}).get("runtime") or {}
        speedup = (row.get("speedup") or {}).get("runtime")
        cells = [
            _cell(runtime.get("p50_ms"), ".2f", marks.timing(_row(row), "runtime")),
            _cell(speedup, ".2f", marks.speedup(_row(row), "runtime")),
            _cell(row.get("map"), ".1f"),
        ]
        lines.append(f"| {escape(name)} | {' | '.join(cells)} |")
    if any(line.count(marks.STAR) for line in lines):
        lines += ["", escape(marks.LEGEND)]
    return "\n".join(lines) + "\n\n"


def _cell(value: float | None, form: str, verdict: str | None = None) -> str:
    return "None" if value is None else format(value, form) + marks.star(verdict)


def _row(row: Mapping[str, Any]) -> Row:
    return cast(Row, row)


def disturbed_metrics(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metrics that were measured while disturbed, as MLflow names them, and why each was: ``NAME: why``."""
    found: list[str] = []
    for row in rows:
        for mode, infix in (("runtime", ""), ("end2end", ".end2end")):
            prefix = f"{ids.latency(row['backend'])}.{row['precision']}{infix}"
            verdicts = {"p50_ms": marks.timing(_row(row), mode), "over_fp32": marks.speedup(_row(row), mode)}
            for name, one in verdicts.items():
                if not marks.is_valid(one):
                    found.append(f"{grouped(metric_name(prefix, name))}: {marks.why(one)}")
    return found


def disturbed_loads(contents: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same of the throughput, of what a report has of it."""
    return [
        f"{grouped(metric_name(ids.throughput(content['backend']), name, scenario, 'images_per_s'))}: {marks.why(said)}"
        for content in contents
        for name, found in content["engines"].items()
        for scenario, own in found.items()
        if scenario in SCENARIOS and own and not marks.is_valid(said := own["validity"]["verdict"])
    ]


def profile_metrics(profiles: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Of what a report has of the profiles: each engine's share of time by group, and what its convolutions reach of
    the machine's peak, both from 0 to 1."""
    for engine in profiles.get("engines", []):
        prefix = f"{ids.profile(engine['backend'])}.{engine['precision']}"
        for group, part in engine["groups"].items():
            yield metric_name(prefix, "share", group), float(part["share"])
        if (of_peak := engine["convolutions"]["of_peak"]) is not None:
            yield metric_name(prefix, "of_peak"), float(of_peak)


def profile_tags(profiles: Mapping[str, Any]) -> dict[str, str]:
    """The tag ``profile.disturbed``: the engines whose profiles were, and why; none of undisturbed profiles."""
    disturbed = [
        f"{grouped(metric_name(ids.profile(engine['backend']), engine['precision']))}: {marks.why(engine['verdict'])}"
        for engine in profiles.get("engines", [])
        if not marks.is_valid(engine["verdict"])
    ]
    return {"profile.disturbed": _shortened("; ".join(disturbed))} if disturbed else {}


def timing_tags(disturbed: Sequence[str]) -> dict[str, str]:
    """The tags of whatever was timed: ``timing``, and with it what of it was disturbed and why."""
    if not disturbed:
        return {"timing": "valid"}
    return {"timing": "disturbed", "timing.disturbed": _shortened("; ".join(disturbed))}


def _shortened(said: str) -> str:
    return said if len(said) <= MAX_NOTE else said[: MAX_NOTE - 1] + "…"
