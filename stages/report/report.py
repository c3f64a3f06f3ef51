"""Stage ``report``: the run's results in one ``report.json`` (``SCHEMA_VERSION``), ``report.md`` and ``report.html``.

It works with whatever there is: a backend that failed is a row with a status, not the end of the report.
``report.json`` holds ``schema_version``, ``status`` ("ok": every row is; "partial": some; "failed": none), ``run_id``,
``model``, ``data``, ``command``, ``commit``, ``hardware``, ``method``, ``seed``, ``rows`` (see
``stages/report/rows.py``), ``gates`` (see ``stages/report/gates.py``), ``agreement`` of the engines (see
``stages/agreement/agreement.py``; null if they were not compared), ``float_blocks`` (see
``stages/mixed_precision/float_blocks.py``; null where ``compression.max_map_drop`` is not set),
``tables`` (the words of the two main tables) and ``failures`` as given.

The page needs no network and no file beside it; its figures also lie beside it as ``report-*.png``.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from stages.artifacts import (
    AccuracyResult,
    Agreement,
    Comparison,
    Engine,
    ExportedModel,
    LatencyResult,
    Report,
    hash_files,
)
from stages.contract import StageContext
from stages.options.report import ReportOptions
from stages.report import markdown
from stages.report.gates import evaluate_gates
from stages.report.rows import MODES, Row, add_agreement, build_rows
from stages.report.tables import latency_table

SCHEMA_VERSION = 1


class ReportStage:
    """Puts the engines, their latencies and accuracies, and what failed, side by side."""

    name: ClassVar[str] = "report"
    version: ClassVar[int] = 5
    packages: ClassVar[tuple[str, ...]] = ("matplotlib",)
    unkeyed: ClassVar[tuple[str, ...]] = ("run_id",)  # a repeated run takes the report and puts its own id in
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

    def __init__(self, options: ReportOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> Report:
        """Write the files; a metric for each difference between a row and its backend's FP32, and for each gate."""
        o = self.options
        rows = build_rows(
            inputs.engines, inputs.latencies, inputs.accuracies, inputs.comparisons, o.failures, o.hardware
        )
        agreement = _agreement(inputs.agreements, rows)
        good = [row["status"] == "ok" for row in rows]
        whole = bool(good) and all(good) and not o.failures
        report: dict[str, Any] = {
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
            "failures": o.failures,
        }
        report["tables"] = {mode: asdict(latency_table(report, mode)) for mode in MODES}
        (context.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (context.out / "report.md").write_text(markdown.render(report), encoding="utf-8")
        self._write_page(report, inputs, context)
        for row in rows:
            if row["map_drop"] is not None:
                context.metric(f"map_drop.{row['backend']}.{row['precision']}", row["map_drop"])
        if report["float_blocks"] is not None:
            context.metric("float_blocks", len(report["float_blocks"]["blocks"]))
        for gate in report["gates"]:
            if gate["margin"] is not None:
                context.metric(f"gate.{gate['gate']}.{gate['backend']}.{gate['precision']}.margin", gate["margin"])
        return Report(root=context.out, files=hash_files(context.out))

    def _write_page(self, report: dict[str, Any], inputs: Inputs, context: StageContext) -> None:
        import yaml

        from stages.report import figures, page, sensitivity

        samples = figures.samples_of([(r.backend, r.path("samples.npz")) for r in inputs.latencies
                                      if "samples.npz" in r.files])  # fmt: skip
        drawn = figures.draw(report["rows"], samples)
        if report["float_blocks"] and report["float_blocks"]["ranking"]:
            drawn["sensitivity"] = sensitivity.draw(report["float_blocks"]["ranking"])
        for name, figure in drawn.items():
            figures.write_png(figure, context.out / f"report-{name}.png")
        compared = [(json.loads(c.path("compare.json").read_text(encoding="utf-8")), c.root)
                    for c in inputs.comparisons]  # fmt: skip
        text = page.render(
            report,
            {name: figures.as_svg(figure, name) for name, figure in drawn.items()},
            compared,
            yaml.safe_dump(self.options.config, sort_keys=False) if self.options.config else "",
            self.options.versions,
        )
        (context.out / "report.html").write_text(text, encoding="utf-8")


def _float_blocks(mixtures: list[ExportedModel]) -> dict[str, Any] | None:
    from stages.artifacts import FILE

    found = [json.loads(m.path(FILE).read_text(encoding="utf-8")) for m in mixtures]
    return found[0] if found else None


def _agreement(agreements: list[Agreement], rows: list[Row]) -> dict[str, Any] | None:
    """The agreement of the engines, noted at their rows too; ``None`` if they were not compared."""
    for found in agreements[:1]:
        content: dict[str, Any] = json.loads(found.path("agreement.json").read_text(encoding="utf-8"))
        add_agreement(rows, content)
        return content
    return None
