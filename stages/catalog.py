"""One row a stage: where its class is, and what the pipelines have to know of it without importing it.

A class is imported only when its stage is used. What a stage is called in keys and messages stands here once; nothing
else lists stages by name.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

PADDLE = "paddle"
"""Paddle, PaddleDetection and what else ``stages/paddle`` imports."""


@dataclass(frozen=True)
class StageEntry:
    """What is known of a stage."""

    where: str
    """``module:Class``."""
    needs: tuple[str, ...] = ()
    """What has to be installed for it to run, whatever the backends need: ``PADDLE``."""
    collects: bool = False
    """It only looks at the images and labels that a run starts from, and runs before anything is computed."""
    trains: bool = False
    """It computes long enough for CPU, memory and the like to be sampled meanwhile."""
    exact: bool = False
    """The same files come out again, bit for bit. Timings do not, and lists of images carry paths."""
    measured_files: tuple[str, ...] = ()
    """Patterns of file names: what an exact stage writes of times beside its model."""
    judged: bool = False
    """A judgement beside the champion takes its results from the run that made the challenger."""
    summarises: bool = False
    """Its metrics are those of the whole run."""
    report_input: str | None = None
    """The field of the report's inputs that its results go into."""


STAGES: dict[str, StageEntry] = {
    "draw": StageEntry("stages.data.draw:Draw", collects=True),
    "convert": StageEntry("stages.data.convert:Convert", collects=True),
    "collect_labeled": StageEntry("stages.data.collect:CollectLabeled", collects=True, judged=True),
    "collect_unlabeled": StageEntry("stages.data.collect:CollectUnlabeled", collects=True, judged=True),
    "finetune": StageEntry(
        "stages.training.finetune:Finetune",
        needs=(PADDLE,),
        trains=True,
        exact=True,
        judged=True,
        report_input="trained",
    ),
    "export": StageEntry("stages.export.export:Export", needs=(PADDLE,), exact=True, report_input="models"),
    "lighten": StageEntry("stages.lightening.lighten:Lighten", needs=(PADDLE,), trains=True, report_input="lightened"),
    "distill": StageEntry(
        "stages.distillation.distill:Distill", needs=(PADDLE,), trains=True, exact=True, report_input="compressed"
    ),
    "search": StageEntry("stages.search.search:Search", needs=(PADDLE,), trains=True, report_input="compressed"),
    "sensitivity": StageEntry("stages.mixed_precision.sensitivity:SensitivityStage", needs=(PADDLE,)),
    "float_blocks": StageEntry(
        "stages.mixed_precision.float_blocks:FloatBlocks",
        needs=(PADDLE,),
        exact=True,
        measured_files=("float_blocks.json", "sensitivity.*"),
        report_input="mixtures",
    ),
    "build": StageEntry("stages.build.build:Build", judged=True, report_input="engines"),
    "latency": StageEntry("stages.latency.latency:Latency", judged=True, report_input="latencies"),
    "profile": StageEntry("stages.profiling.profile:Profile", report_input="profiles"),
    "throughput": StageEntry("stages.throughput.throughput:Throughput", report_input="throughputs"),
    "accuracy": StageEntry("stages.accuracy.accuracy:Accuracy", judged=True, report_input="accuracies"),
    "compare": StageEntry("stages.accuracy.compare:Compare", judged=True, report_input="comparisons"),
    "detect": StageEntry("stages.agreement.detect:Detect"),
    "agreement": StageEntry("stages.agreement.agreement:AgreementStage", report_input="agreements"),
    "thresholds": StageEntry("stages.thresholds.thresholds:ThresholdsStage", report_input="thresholds"),
    "report": StageEntry("stages.report.report:ReportStage", summarises=True),
    "drift": StageEntry("stages.champion.drift:Drift", summarises=True),
    "judge": StageEntry("stages.champion.judge:Judge", summarises=True),
    "bundle": StageEntry("stages.bundle.bundle:BundleStage"),
}


def stage_entry(name: str) -> StageEntry:
    """The row of the stage called ``name``; of somebody else's (``module:Class``) nothing but that is known."""
    return STAGES.get(name) or StageEntry(name)


def stage_class(name: str) -> Any:
    """The class of the stage called ``name``: one of ``STAGES``, or ``module:Class`` for somebody else's."""
    module, _, attribute = stage_entry(name).where.partition(":")
    return getattr(importlib.import_module(module), attribute)
