"""Stage ``report``: the run's results in one ``report.json`` (``SCHEMA_VERSION``), ``report.md`` and ``report.html``.

It works with whatever there is: a backend that failed is a row with a status, not the end of the report.
``report.json`` holds ``schema_version``, ``status`` ("ok": every row is; "partial": some; "failed": none),
``run_id``, ``model``, ``data``, ``command``, ``commit``, ``hardware``, ``method``, ``seed``, ``rows`` (see
``stages/report/rows.py``), ``gates`` (see ``stages/report/gates.py``), ``agreement`` of the engines (see
``stages/agreement/agreement.py``; null if they were not compared), ``float_blocks`` (see
``stages/mixed_precision/float_blocks.py``; null where ``compression.max_map_drop`` is not set), ``tables`` (the words
of the two main tables), ``failures`` and ``left_out`` (variants that a backend or this machine does not have) as
given, ``ship`` (which engine to ship, see ``stages/report/ship.py``; null without a choice); in the file of a run
also ``timed_in``, from a stage to the earlier run that its timings were taken in, ``stages`` with their durations and
``images``, the sets that it worked on. ``size`` is the model's (`model_size.py`), ``training`` its curves
(`training.py`), ``search`` the path of ``compression=auto`` (`search.py`; absent without one), ``profiles`` where the
time of the engines goes (`profiles.py`, `schema_profile.py`; absent with ``profile.runs=0``), ``thresholds`` those
that moved with the quantization (`thresholds.py`; absent where the config names none), ``throughput`` the content of
each backend's ``throughput.json`` (absent without ``latency=server``), ``lightened`` what INT8's model was relieved of
(`light.py`; absent where it is the original).

The page needs no network and no file beside it; its figures also lie beside it as ``report-*.png``. ``page.json``, the
figures as ``report-*.svg`` and the pictures of the worst images are what it is rendered from (`page_parts.py`), so that
a run which takes the report over renders it again with its own id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, cast

from stages.artifacts import (
    FLOAT_BLOCKS_FILE,
    AccuracyResult,
    Agreement,
    Checkpoint,
    Comparison,
    Engine,
    ExportedModel,
    LatencyResult,
    ProfileResult,
    QuantizedModel,
    Report,
    Thresholds,
    ThroughputResult,
    hash_files,
)
from stages.contract import StageContext
from stages.options.report import ReportOptions
from stages.report import light, markdown, page, profiles, search, thresholds, throughput, training
from stages.report.gates import evaluate_gates
from stages.report.model_size import model_size
from stages.report.page_parts import read_parts, write_parts
from stages.report.rows import MODES, add_agreement, build_rows
from stages.report.schema import Failure, LeftOut, ReportContent, Row
from stages.report.schema_accuracy import AgreementContent
from stages.report.schema_blocks import FloatBlocksContent
from stages.report.ship import choose_ship
from stages.report.tables import latency_table

SCHEMA_VERSION = 1


class ReportStage:
    """Puts the engines, their latencies and accuracies, and what failed, side by side."""

    name: ClassVar[str] = "report"
    version: ClassVar[int] = 10
    packages: ClassVar[tuple[str, ...]] = ("matplotlib", "onnx")
    unkeyed: ClassVar[tuple[str, ...]] = ("run_id", "command")  # a repeated run renders the report again with its own
    Options: ClassVar[type] = ReportOptions
    Output: ClassVar[type[Report]] = Report

    @dataclass(frozen=True)
    class Inputs:
        engines: list[Engine] = field(default_factory=list)
        latencies: list[LatencyResult] = field(default_factory=list)
        accuracies: list[AccuracyResult] = field(default_factory=list)
        comparisons: list[Comparison] = field(default_factory=list)
        agreements: list[Agreement] = field(default_factory=list)
        mixtures: list[ExportedModel] = field(default_factory=list)
        models: list[ExportedModel] = field(default_factory=list)
        compressed: list[QuantizedModel] = field(default_factory=list)
        trained: list[Checkpoint] = field(default_factory=list)
        profiles: list[ProfileResult] = field(default_factory=list)
        thresholds: list[Thresholds] = field(default_factory=list)
        throughputs: list[ThroughputResult] = field(default_factory=list)
        lightened: list[ExportedModel] = field(default_factory=list)

    def __init__(self, options: ReportOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> Report:
        """Write the files; a metric for each difference between a row and its backend's FP32, and for each gate."""
        o = self.options
        failures = cast("list[Failure]", o.failures)
        rows = build_rows(
            inputs.engines,
            inputs.latencies,
            inputs.accuracies,
            inputs.comparisons,
            failures,
            o.hardware,
            o.variants,
        )
        agreement = _agreement(inputs.agreements, rows)
        good = [row["status"] == "ok" for row in rows]
        whole = bool(good) and all(good) and not failures
        report: ReportContent = {
            "schema_version": SCHEMA_VERSION,
            "status": "ok" if whole else "partial" if any(good) else "failed",
            "run_id": o.run_id,
            "model": o.model,
            "data": o.data,
            "command": o.command,
            "commit": o.commit,
            "hardware": o.hardware,
            "method": o.method,
            "seed": context.seed,
            "rows": rows,
            "gates": evaluate_gates(rows, o.gate, require_all=o.require_all_backends),
            "agreement": agreement,
            "float_blocks": _float_blocks(inputs.mixtures),
            "failures": failures,
            "left_out": cast("list[LeftOut]", o.left_out),
            "ship": choose_ship(rows, o.gate.max_map_drop),
            "tables": {},
            "size": model_size(inputs.models, rows),
            "training": training.read(inputs.compressed, inputs.trained, inputs.lightened),
        }
        if (lighter := light.read(inputs.lightened)) is not None:
            report["lightened"] = lighter
        if (path := search.read(inputs.compressed)) is not None:
            report["search"] = path
        if (where := profiles.read(inputs.profiles, rows)) is not None:
            report["profiles"] = where
        if inputs.thresholds:
            report["thresholds"] = thresholds.read(inputs.thresholds)
        if inputs.throughputs:
            report["throughput"] = throughput.read(inputs.throughputs)
        report["tables"] = {mode: latency_table(report, mode).content() for mode in MODES}
        self._write_parts(report, inputs, context.out)
        for name, text in render(report, context.out).items():
            (context.out / name).write_text(text, encoding="utf-8")
        for row in rows:
            if row["map_drop"] is not None:
                context.metric(f"map_drop.{row['backend']}.{row['precision']}", row["map_drop"])
        if report["float_blocks"] is not None:
            context.metric("float_blocks", len(report["float_blocks"]["blocks"]))
        if (ship := report.get("ship")) and (over := ship["over_best_float"]):
            context.metric(f"ship.{ship['backend']}.{ship['precision']}.over_best_float", over["median"])
        for gate in report["gates"]:
            if gate["margin"] is not None:
                context.metric(f"gate.{gate['gate']}.{gate['backend']}.{gate['precision']}.margin", gate["margin"])
        return Report(root=context.out, files=hash_files(context.out))

    def _write_parts(self, report: ReportContent, inputs: Inputs, out: Path) -> None:
        from stages.report import figures, sensitivity

        samples = figures.samples_of([(r.backend, r.path("samples.npz")) for r in inputs.latencies
                                      if "samples.npz" in r.files])  # fmt: skip
        drawn = figures.draw(report["rows"], samples)
        if report["float_blocks"] and report["float_blocks"]["ranking"]:
            drawn["sensitivity"] = sensitivity.draw(report["float_blocks"]["ranking"])
        if path := report.get("search"):
            drawn["search"] = search.draw(path)
        for trained in report.get("training", []):
            drawn[f"curve-{trained['stage']}"] = training.draw(trained)
        compared = [(json.loads(c.path("compare.json").read_text(encoding="utf-8")), c.root)
                    for c in inputs.comparisons]  # fmt: skip
        write_parts(out, drawn, compared, self.options.config, self.options.versions)


def load(folder: Path) -> ReportContent:
    """``report.json`` of a report's folder."""
    content: ReportContent = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return content


def render(report: ReportContent, folder: Path) -> dict[str, str]:
    """The texts of a report, by file name: ``report.json`` itself, and the same for people.

    Args:
        folder: of a report, with the figures and pictures.
    """
    return {
        "report.json": json.dumps(report, indent=1) + "\n",
        "report.md": markdown.render(report),
        "report.html": page.render(report, read_parts(folder)),
    }


def _float_blocks(mixtures: list[ExportedModel]) -> FloatBlocksContent | None:
    for mixture in mixtures[:1]:
        content: FloatBlocksContent = json.loads(mixture.path(FLOAT_BLOCKS_FILE).read_text(encoding="utf-8"))
        return content
    return None


def _agreement(agreements: list[Agreement], rows: list[Row]) -> AgreementContent | None:
    """The agreement of the engines, noted at their rows too; ``None`` if they were not compared."""
    for found in agreements[:1]:
        content: AgreementContent = json.loads(found.path("agreement.json").read_text(encoding="utf-8"))
        add_agreement(rows, content)
        return content
    return None
