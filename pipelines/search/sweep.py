"""A search as Hydra's sweeper: its space is what the command line (and ``hydra.sweeper.params``) sweeps over, and its
trials are jobs of whatever launcher was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from pipelines.config.compose import one_line
from pipelines.config.quoting import hydra_quoted
from pipelines.config.space import Axis, axis
from pipelines.execution import ray_sweep
from pipelines.runs import trial
from pipelines.search.options import SearchOptions, made
from pipelines.search.search import digest, search
from stages.errors import InputError

COMMAND = "compress"
_DIR = "hydra.sweep.dir"


def run(
    options: Mapping[str, Any],
    arguments: Sequence[str],
    context: HydraContext,
    task: TaskFunction,
    config: DictConfig,
) -> None:
    """Search; the page is the last line on stdout.

    Args:
        options: the fields of ``hydra.sweeper``.
        arguments: the overrides of the task.
        config: the config of the sweep as a whole; its folder is set here.

    Raises:
        InputError: options, space or folder do not fit.
    """
    checked = made(options)
    command = ray_sweep.current()
    if command.command[0] != COMMAND:
        raise InputError(
            f"a search is of `detpress {COMMAND}`, whose runs have reports; leave hydra/sweeper=optuna out"
        )
    axes, fixed = space(checked, arguments, context.config_loader)
    folder = _folder(config, f"search-{digest(axes, fixed, checked)[:12]}")
    launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)
    command.flags.append(checked.asked.flag)

    def launch(jobs: Sequence[Sequence[str]], first: int) -> list[trial.Measured]:
        wrong = [_problem(context.config_loader, config, job) for job in jobs]
        good = [list(job) for job, problem in zip(jobs, wrong, strict=True) if not problem]
        returned = iter(launcher.launch(good, initial_job_idx=first) if good else [])
        return [trial.Measured(trial.FAILED, problem) if problem else answer(next(returned)) for problem in wrong]

    with trial.asking(checked.asked):
        code, path = search(folder, axes, fixed, checked, launch)
    command.code = code
    print(path, flush=True)


def space(options: SearchOptions, arguments: Sequence[str], loader: ConfigLoader) -> tuple[list[Axis], list[str]]:
    """The axes of a search and the overrides that all of its trials have; the command line comes before ``params``.

    Raises:
        InputError: there is nothing to search, or an axis that is none.
    """
    texts = [f"{name}={value}" for name, value in (options.params or {}).items()]
    try:
        parsed = OverridesParser.create(config_loader=loader).parse_overrides([*texts, *arguments])
    except HydraException as error:
        raise InputError(f"hydra.sweeper.params: {one_line(error)}") from error
    last: dict[str, Override] = {override.get_key_element(): override for override in parsed}
    axes = [axis(override) for override in last.values() if override.is_sweep_override()]
    if not axes:
        raise InputError(
            "there is nothing to search: give options several values, e.g. compression.steps=choice(100,300) or "
            "compression.lr=interval(1e-5,1e-3)"
        )
    return axes, [str(override.input_line) for override in last.values() if not override.is_sweep_override()]


def answer(returned: JobReturn) -> trial.Measured:
    """What a job said of itself, or its exit code in words."""
    value = returned.return_value
    if isinstance(value, trial.Measured):
        return value
    said = f"it ended with exit code {value}" if isinstance(value, int) else "it said nothing of itself"
    return trial.Measured(trial.FAILED, f"{said}; see its log")


def _folder(config: DictConfig, name: str) -> Path:
    """The folder of the search: the user's, or one that the same command finds again. The jobs get the same."""
    given = any(str(o).startswith(f"{_DIR}=") for o in config.hydra.overrides.hydra)
    folder = Path(str(config.hydra.sweep.dir)) if given else Path(str(config.run.artifacts)) / "sweeps" / name
    with read_write(config), read_write(config.hydra), open_dict(config.hydra):
        config.hydra.sweep.dir = str(folder)
        if not given:
            config.hydra.overrides.hydra.append(f"{_DIR}={hydra_quoted(str(folder))}")
    return folder


def _problem(loader: ConfigLoader, config: DictConfig, job: Sequence[str]) -> str:
    """Why the config of a job does not compose; empty if it does."""
    try:
        loader.load_sweep_config(master_config=config, sweep_overrides=list(job))
    except (HydraException, OmegaConfBaseException) as error:
        return one_line(error)
    return ""
