"""MLflow's model registry (`conf/registry`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RegistryOptions:
    """Which engine is kept in MLflow's Model Registry, under which name (``conf/registry``)."""

    register: bool = False
    """Let `detpress compress` register its engine as the challenger (`detpress retrain` always does)."""
    name: str | None = None
    """Name of the registered model; ``None``: ``MODEL-DATA-BACKEND``."""
    backend: str | None = None
    """The engine's backend; ``None``: the first of the config."""
    golden: int = 8
    """Images that go along in the bundle, with what the engine finds in them."""
