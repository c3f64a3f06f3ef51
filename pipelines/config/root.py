"""The whole config as one dataclass, apart from Hydra, so that its keys can be listed without loading that.

Field names are config keys. What a stage gets beyond its own part (the model, the precision, the NMS settings) is put
in by ``config/stage_options.py``, so that each setting has one key and no key is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pipelines.config.options.finetune import FinetuneConfig
from pipelines.config.options.registry import RegistryOptions
from pipelines.config.options.retrain import RetrainOptions
from pipelines.config.options.run import RunOptions
from pipelines.config.options.schedule import ScheduleOptions
from pipelines.config.options.tracking import TrackingOptions
from stages.options.accuracy import AccuracySettings
from stages.options.agreement import AgreementSettings
from stages.options.data import DataOptions
from stages.options.export import ExportConfig
from stages.options.gate import GateOptions
from stages.options.latency import LatencyConfig
from stages.options.lighten import CompressionConfig
from stages.options.model import ModelOptions
from stages.options.profile import ProfileSettings
from stages.options.rules import COUNT, POSITIVE, option, part
from stages.options.sensitivity import SensitivitySettings
from stages.options.thresholds import ThresholdSettings


@dataclass
class PipelineConfig:
    """Everything that ``detpress compress``, ``finetune`` and ``retrain`` read."""

    model: ModelOptions = part(ModelOptions)
    data: DataOptions = part(DataOptions)
    finetune: FinetuneConfig = part(FinetuneConfig)
    export: ExportConfig = part(ExportConfig)
    compression: CompressionConfig = part(CompressionConfig)
    sensitivity: SensitivitySettings = part(SensitivitySettings)
    backend: dict[str, Any] = option({}, doc="the backends and their options, `backend.NAME.OPTION`")
    latency: LatencyConfig = part(LatencyConfig)
    profile: ProfileSettings = part(ProfileSettings)
    accuracy: AccuracySettings = part(AccuracySettings)
    agreement: AgreementSettings = part(AgreementSettings)
    thresholds: ThresholdSettings = part(ThresholdSettings)
    gate: GateOptions = part(GateOptions)
    tracking: TrackingOptions = part(TrackingOptions)
    registry: RegistryOptions = part(RegistryOptions)
    retrain: RetrainOptions = part(RetrainOptions)
    schedule: ScheduleOptions = part(ScheduleOptions)
    run: RunOptions = part(RunOptions)
    seed: int = option(0, COUNT, "seed of everything that is drawn at random")
    threads: int | None = option(
        None,
        POSITIVE,
        "CPU threads of training and compression, and cores that images are read and engines scored on; null: all that "
        "this process may use; an engine has `backend.NAME.threads`",
    )
