"""The whole config as dataclasses, registered with Hydra.

Field names are config keys. What a stage gets beyond its own part (the model, the precision, the NMS settings) is put
in by ``config/stage_options.py``, so that each setting has one key and no key is ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore

from pipelines.config.options.finetune import FinetuneConfig
from pipelines.config.options.registry import RegistryOptions
from pipelines.config.options.retrain import RetrainOptions
from pipelines.config.options.run import RunOptions
from pipelines.config.options.schedule import ScheduleOptions
from pipelines.config.options.tracking import TrackingOptions
from stages.options.accuracy import AccuracySettings
from stages.options.agreement import AgreementSettings
from stages.options.compression import CompressionSettings
from stages.options.data import DataOptions
from stages.options.export import ExportSettings
from stages.options.gate import GateOptions
from stages.options.latency import LatencySettings
from stages.options.model import ModelOptions
from stages.options.sensitivity import SensitivitySettings

SCHEMA_NAME = "schema"
"""The name under which ``conf/config.yaml`` lists the dataclasses in its defaults."""


@dataclass
class PipelineConfig:
    """Everything that ``detpress compress``, ``finetune`` and ``retrain`` read."""

    model: ModelOptions = field(default_factory=ModelOptions)
    data: DataOptions = field(default_factory=DataOptions)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    export: ExportSettings = field(default_factory=ExportSettings)
    compression: CompressionSettings = field(default_factory=CompressionSettings)
    sensitivity: SensitivitySettings = field(default_factory=SensitivitySettings)
    backend: dict[str, Any] = field(default_factory=dict)
    """Backend name -> its options. Plain dicts while composing; ``config_load`` makes them dataclasses."""
    latency: LatencySettings = field(default_factory=LatencySettings)
    accuracy: AccuracySettings = field(default_factory=AccuracySettings)
    agreement: AgreementSettings = field(default_factory=AgreementSettings)
    gate: GateOptions = field(default_factory=GateOptions)
    tracking: TrackingOptions = field(default_factory=TrackingOptions)
    registry: RegistryOptions = field(default_factory=RegistryOptions)
    retrain: RetrainOptions = field(default_factory=RetrainOptions)
    schedule: ScheduleOptions = field(default_factory=ScheduleOptions)
    run: RunOptions = field(default_factory=RunOptions)
    seed: int = 0
    threads: int | None = None
    """CPU threads of training and compression; ``None``: all that this process may use. Engines have their own key."""


def register(node: Any = PipelineConfig) -> None:
    """Make the schema known to Hydra under the name that ``conf/config.yaml`` uses.

    The config check registers an empty node for a moment: composing then stops at nothing, and the check can list
    every problem instead of the first.
    """
    ConfigStore.instance().store(name=SCHEMA_NAME, node=node, provider="detpress")
