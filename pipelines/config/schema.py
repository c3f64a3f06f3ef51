"""The whole config as dataclasses, registered with Hydra.

Field names are config keys. What a stage gets beyond its own part (the model, the precision, the NMS settings) is put
in by ``config/stage_options.py``, so that each setting has one key and no key is ignored.
"""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from pipelines.config.options.finetune import FinetuneConfig
from pipelines.config.options.registry import RegistryOptions
from pipelines.config.options.retrain import RetrainOptions
from pipelines.config.options.run import RunOptions
from pipelines.config.options.schedule import ScheduleOptions
from pipelines.config.options.tracking import TrackingOptions
from stages import backends
from stages.options.accuracy import AccuracySettings
from stages.options.agreement import AgreementSettings
from stages.options.backend import BackendOptions
from stages.options.compression import CompressionSettings
from stages.options.data import DataOptions
from stages.options.export import ExportSettings
from stages.options.gate import GateOptions
from stages.options.latency import LatencySettings
from stages.options.model import ModelOptions
from stages.options.rules import COUNT, POSITIVE, option, part
from stages.options.sensitivity import SensitivitySettings

SCHEMA_NAME = "schema"
"""The name under which ``conf/config.yaml`` lists the dataclasses in its defaults."""


@dataclass
class PipelineConfig:
    """Everything that ``detpress compress``, ``finetune`` and ``retrain`` read."""

    model: ModelOptions = part(ModelOptions)
    data: DataOptions = part(DataOptions)
    finetune: FinetuneConfig = part(FinetuneConfig)
    export: ExportSettings = part(ExportSettings)
    compression: CompressionSettings = part(CompressionSettings)
    sensitivity: SensitivitySettings = part(SensitivitySettings)
    backend: dict[str, Any] = option({}, doc="the backends and their options, `backend.NAME.OPTION`")
    latency: LatencySettings = part(LatencySettings)
    accuracy: AccuracySettings = part(AccuracySettings)
    agreement: AgreementSettings = part(AgreementSettings)
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
        "CPU threads of training and compression; null: all that this process may use; engines: `backend.NAME.threads`",
    )


def register(*, typed: bool = True) -> None:
    """Make the schema known to Hydra under the name that ``conf/config.yaml`` uses, and each backend's options as
    ``backend/_NAME``, which its YAML takes as defaults.

    Args:
        typed: ``False`` registers the same defaults without their types: composing then stops at nothing, and the check
            can list every problem instead of the first.
    """
    for (group, name), node in _nodes(typed).items():
        ConfigStore.instance().store(name=name, group=group, node=node, provider="detpress")


@functools.cache
def _nodes(typed: bool) -> dict[tuple[str | None, str], DictConfig]:
    """(group, name) -> the config that Hydra gets; the check of a command wants each several times."""
    kinds: dict[tuple[str | None, str], type] = {(None, SCHEMA_NAME): PipelineConfig}
    kinds |= {("backend", f"_{name}"): kind for name, kind in backend_options().items()}
    nodes: dict[tuple[str | None, str], DictConfig] = {key: OmegaConf.structured(kind) for key, kind in kinds.items()}
    return nodes if typed else {key: DictConfig(OmegaConf.to_container(node)) for key, node in nodes.items()}


def backend_options() -> dict[str, type[BackendOptions]]:
    """Backend name -> the dataclass of its options, those of other distributions among them."""
    found = {}
    for name in backends.names():
        with contextlib.suppress(Exception):  # somebody else's that cannot be loaded is told of when it is chosen
            found[name] = backends.get(name).Options
    return found
