"""Hydra's way to a search over configs: ``hydra/sweeper=optuna``.

Hydra looks for sweepers in packages of this name only. It imports this file at every start, so nothing heavy is
imported here; the work is in ``pipelines/search``.
"""

from __future__ import annotations

from typing import Any

from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class OptunaSweeper(Sweeper):
    """Chooses the configs of a sweep by what the ones before gave. Its fields: ``conf/hydra/sweeper/optuna.yaml``."""

    def __init__(self, **options: Any) -> None:
        self._options: dict[str, Any] = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in options.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context = hydra_context
        self.config = config
        self._task_function = task_function

    def sweep(self, arguments: list[str]) -> Any:
        from pipelines.search import sweep

        assert self.hydra_context is not None and self.config is not None
        return sweep.run(self._options, arguments, self.hydra_context, self._task_function, self.config)
