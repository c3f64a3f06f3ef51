"""The whole config (`root.PipelineConfig`) and the backends' options, registered with Hydra."""

from __future__ import annotations

import contextlib
import functools

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from pipelines.config.root import PipelineConfig
from stages import backends
from stages.options.backend import BackendOptions

__all__ = ["SCHEMA_NAME", "PipelineConfig", "backend_options", "register"]

SCHEMA_NAME = "schema"
"""The name under which ``conf/config.yaml`` lists the dataclasses in its defaults."""


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
