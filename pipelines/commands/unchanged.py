"""``--exit-if-unchanged``: whether a compression would only repeat one that is there."""

from __future__ import annotations

from pathlib import Path

from pipelines.commands.plan import plan_compress
from pipelines.config.digest import config_digest
from pipelines.config.schema import PipelineConfig
from pipelines.graph.user_inputs import with_labels
from pipelines.runs import history
from stages.outside import names


def repeated(config: PipelineConfig) -> Path | None:
    """``report.json`` of the finished run that ``config`` would repeat; ``None`` if there is something to do.

    Every stage has to be in the store, and the newest run of the same config has to have ended well.
    """
    artifacts = Path(config.run.artifacts).resolve()
    state = history.last_with(artifacts, "compress", config_digest(with_labels(config)))
    if state is None or state["status"] != history.FINISHED:
        return None
    runs = artifacts / "runs"
    report = names.inside(runs, state.get("run_id"), f"run.json of a run under {runs}", "run_id") / "report.json"
    return report if report.is_file() and plan_compress(config).unchanged else None
