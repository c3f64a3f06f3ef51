"""Stage names and where their classes are; a class is imported only when its stage is used."""

from __future__ import annotations

import importlib
from typing import Any

STAGES: dict[str, str] = {
    "draw": "stages.draw:Draw",
    "collect_labeled": "stages.collect:CollectLabeled",
    "collect_unlabeled": "stages.collect:CollectUnlabeled",
    "finetune": "stages.finetune:Finetune",
    "export": "stages.export:Export",
    "distill": "stages.distill:Distill",
    "sensitivity": "stages.sensitivity:SensitivityStage",
    "float_blocks": "stages.float_blocks:FloatBlocks",
    "build": "stages.build:Build",
    "latency": "stages.latency:Latency",
    "accuracy": "stages.accuracy:Accuracy",
    "compare": "stages.compare:Compare",
    "detect": "stages.detect:Detect",
    "agreement": "stages.agreement:AgreementStage",
    "report": "stages.report:ReportStage",
    "drift": "stages.drift:Drift",
    "judge": "stages.judge:Judge",
    "bundle": "stages.bundle:BundleStage",
}


def stage_class(name: str) -> Any:
    """The class of the stage called ``name``: one of ``STAGES``, or ``module:Class`` for somebody else's."""
    module, _, attribute = STAGES.get(name, name).partition(":")
    return getattr(importlib.import_module(module), attribute)
