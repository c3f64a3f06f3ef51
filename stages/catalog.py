"""Stage names and where their classes are; a class is imported only when its stage is used."""

from __future__ import annotations

import importlib
from typing import Any

STAGES: dict[str, str] = {
    "draw": "stages.data.draw:Draw",
    "collect_labeled": "stages.data.collect:CollectLabeled",
    "collect_unlabeled": "stages.data.collect:CollectUnlabeled",
    "finetune": "stages.training.finetune:Finetune",
    "export": "stages.export.export:Export",
    "distill": "stages.distillation.distill:Distill",
    "sensitivity": "stages.mixed_precision.sensitivity:SensitivityStage",
    "float_blocks": "stages.mixed_precision.float_blocks:FloatBlocks",
    "build": "stages.build.build:Build",
    "latency": "stages.latency.latency:Latency",
    "accuracy": "stages.accuracy.accuracy:Accuracy",
    "compare": "stages.accuracy.compare:Compare",
    "detect": "stages.agreement.detect:Detect",
    "agreement": "stages.agreement.agreement:AgreementStage",
    "report": "stages.report.report:ReportStage",
    "drift": "stages.champion.drift:Drift",
    "judge": "stages.champion.judge:Judge",
    "bundle": "stages.bundle.bundle:BundleStage",
}


def stage_class(name: str) -> Any:
    """The class of the stage called ``name``: one of ``STAGES``, or ``module:Class`` for somebody else's."""
    module, _, attribute = STAGES.get(name, name).partition(":")
    return getattr(importlib.import_module(module), attribute)
