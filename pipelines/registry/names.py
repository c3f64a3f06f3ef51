"""Which engine of a config is the one that is registered, and under which name."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from pipelines.system.slug import findable


def model_name(config: PipelineConfig) -> str:
    """``registry.name``, or ``MODEL-DATA-BACKEND``, without what MLflow refuses or cannot look for."""
    given = config.registry.name or f"{config.model.name}-{config.data.name or config.data.kind}-{backend_of(config)}"
    return findable(given.replace("/", "_").replace(":", "_"))


def backend_of(config: PipelineConfig) -> str:
    """``registry.backend``, or the first backend of the config."""
    return config.registry.backend or next(iter(config.backend))


def precision_of(config: PipelineConfig) -> str:
    """The variant that is registered: ``registry.variant``, or the plain one of the compressed model."""
    return config.registry.variant or ("fp32" if config.compression.method == "none" else "int8")
