"""Stage ``report``: the run's results in one ``report.json`` (``SCHEMA_VERSION``) and ``report.md``.

It works with whatever there is: a backend that failed is a row with a status, not the end of the report.
``report.json`` holds ``schema_version``, ``status`` ("ok": every row is; "partial": some; "failed": none), ``run_id``,
``model``, ``data``, ``command``, ``hardware``, ``method``, ``seed``, ``rows`` (see ``stages/reporting/rows.py``),
``tables`` (the words of the two main tables) and ``failures`` as given.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from stages.contract import AccuracyResult, Engine, LatencyResult, Report, StageContext, hash_files
from stages.options import ReportOptions
from stages.reporting import markdown
from stages.reporting.rows import MODES, build_rows
from stages.reporting.tables import latency_table

SCHEMA_VERSION = 1


class ReportStage:
    """Puts the engines, their latencies and accuracies, and what failed, side by side."""

    name: ClassVar[str] = "report"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type] = ReportOptions
    Output: ClassVar[type[Report]] = Report

    @dataclass(frozen=True)
    class Inputs:
        engines: list[Engine] = field(default_factory=list)
        latencies: list[LatencyResult] = field(default_factory=list)
        accuracies: list[AccuracyResult] = field(default_factory=list)

    def __init__(self, options: ReportOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> Report:
        """Write both files; a metric for each difference between a row and its backend's FP32."""
        o = self.options
        rows = build_rows(inputs.engines, inputs.latencies, inputs.accuracies, o.failures, o.hardware)
        good = [row["status"] == "ok" for row in rows]
        whole = bool(good) and all(good) and not o.failures
        report: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "status": "ok" if whole else "partial" if any(good) else "failed",
            "run_id": o.run_id,
            "model": o.model,
            "data": o.data,
            "command": o.command,
            "hardware": o.hardware,
            "method": o.method,
            "seed": context.seed,
            "rows": rows,
            "failures": o.failures,
        }
        report["tables"] = {mode: asdict(latency_table(report, mode)) for mode in MODES}
        (context.out / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        (context.out / "report.md").write_text(markdown.render(report), encoding="utf-8")
        for row in rows:
            if row["map_drop"] is not None:
                context.metric(f"map_drop.{row['backend']}.{row['precision']}", row["map_drop"])
        return Report(root=context.out, files=hash_files(context.out))
