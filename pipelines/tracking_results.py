"""What the tracking store shows of a stage's result: its numbers, and the run's description in Markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.tracking_names import metric_name, numbers

Metrics = dict[str, float]

MAX_NOTE = 7500  # characters; MLflow keeps 8000 of a tag


def result_metrics(artifact: Mapping[str, Any]) -> tuple[Metrics, Metrics]:
    """The numbers of an artifact record: those of its own run, and those that make pipeline runs comparable.

    The latter are named by quantity, backend and precision: ``map.onnxruntime.int8``,
    ``latency.onnxruntime.int8.p50_ms``, ``latency_e2e.onnxruntime.int8.p50_ms``, ``size_mb.onnxruntime.int8``.
    """
    fields = artifact["fields"]
    kind = artifact["type"]
    if kind == "AccuracyResult":
        return _accuracy(_read(artifact, "accuracy.json"), fields["backend"], fields["precision"])
    if kind == "LatencyResult":
        return {}, _latency(_read(artifact, "latency.json"), fields["backend"])
    if kind == "Engine":
        name = metric_name("size_mb", fields["backend"], fields["precision"])
        return {"build_seconds": fields["build_seconds"]}, {name: artifact["size_bytes"] / 1e6}
    return dict(numbers({k: v for k, v in fields.items() if k not in ("batch", "input_size")})), {}


def run_note(run: Mapping[str, Any], finished: Mapping[str, Any], report_dir: Path | None) -> str:
    """The description of a pipeline run: its report, or why there is none."""
    report = report_dir / "report.md" if report_dir else None
    if report is not None and report.is_file():
        note = report.read_text(encoding="utf-8")
        if len(note) > MAX_NOTE:
            cut = note.rfind("\n", 0, MAX_NOTE)
            note = note[:cut] + "\n\nThe whole report is among the run's artifacts: `report.md`."
        return note
    error = finished["summary"].get("error")
    said = f"\n\n```\n{str(error)[:MAX_NOTE]}\n```" if error else ""
    return f"{finished['status'].capitalize()}: `{run['command']}`{said}"


def _read(artifact: Mapping[str, Any], name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((Path(artifact["root"]) / name).read_text(encoding="utf-8"))
    return data


def _accuracy(data: Mapping[str, Any], backend: str, precision: str) -> tuple[Metrics, Metrics]:
    own: Metrics = {}
    comparable: Metrics = {}
    for name, value in numbers(data):
        if name.startswith("map"):
            comparable[metric_name(name, backend, precision)] = value
        else:
            own[name] = value
    return own, comparable


def _latency(data: Mapping[str, Any], backend: str) -> Metrics:
    found: Metrics = {}
    for row in data["engines"]:
        for mode, name in (("runtime", "latency"), ("end2end", "latency_e2e")):
            for quantity, value in numbers(row.get(mode) or {}):
                found[metric_name(name, backend, row["precision"], quantity)] = value
    return found
