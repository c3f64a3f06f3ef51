"""Hydra's way to a Ray cluster for the jobs of a sweep: ``hydra/launcher=ray``.

Hydra looks for launchers in packages of this name only. It imports this file at every start, so nothing heavy is
imported here; the work is in ``pipelines/execution/ray_sweep.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class RayLauncher(Launcher):
    """Starts each job as a command of its own on some node of the cluster. Its fields: ``conf/hydra/launcher``."""

    def __init__(self, **options: Any) -> None:
        self._options: dict[str, Any] = {
            name: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
            for name, value in options.items()
        }
        self._config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self._config = config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from pipelines.execution import ray_sweep
        from pipelines.runs import trial

        assert self._config is not None
        logs = Path(str(self._config.hydra.sweep.dir))
        options = ray_sweep.RayOptions(**self._options)
        codes = ray_sweep.launch(options, job_overrides, logs=logs, first=initial_job_idx)
        said = ray_sweep.current().said
        returns: list[JobReturn] = []
        for number, (overrides, code) in enumerate(zip(job_overrides, codes, strict=True), initial_job_idx):
            made = JobReturn(overrides=overrides, status=JobStatus.COMPLETED)
            made.return_value = trial.answer(said.get(number, "")) or code
            returns.append(made)
        return returns
