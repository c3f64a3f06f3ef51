"""Hydra's compose functions, set up as ``hydra.main`` would be for the same command line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import yaml
from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.config import schema
from pipelines.config.keys import close_to, suggestion

CONFIG_MODULE = "conf"
VERSION_BASE = "1.3"


@dataclass(frozen=True)
class Command:
    """What a Hydra command line asks for, as far as the config hangs on it."""

    overrides: Sequence[str]
    multirun: bool = False
    config_dir: str | None = None
    config_path: str | None = None
    config_name: str = "config"
    finetune_only: bool = False
    """The command only trains (see ``config_inputs.check_inputs``)."""


class _UserFolder(SearchPathPlugin):
    """``--config-dir`` for Hydra's compose functions, which have no such argument: at the same place in the path."""

    path: ClassVar[str | None] = None

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        if self.path is not None:
            search_path.append("command-line", f"file://{self.path}")


@contextlib.contextmanager
def hydra_for(command: Command) -> Iterator[ConfigLoader]:
    """Hydra with the search path of ``command``, for the length of a ``with``."""
    # The folder has to be known to Hydra when `context` is made.
    Plugins.instance().register(_UserFolder)
    own_plugins()
    _UserFolder.path = None if command.config_dir is None else str(Path(command.config_dir).resolve())
    try:
        context: contextlib.AbstractContextManager[None]
        if command.config_path is not None and not command.config_path.startswith("pkg://"):
            context = initialize_config_dir(str(Path(command.config_path).resolve()), version_base=VERSION_BASE)
        else:
            module = (command.config_path or CONFIG_MODULE).removeprefix("pkg://").replace("/", ".")
            context = initialize_config_module(module, version_base=VERSION_BASE)
        with context:
            yield GlobalHydra.instance().config_loader()
    finally:
        _UserFolder.path = None


def own_plugins() -> None:
    """Let ``hydra/launcher=ray`` and ``hydra/sweeper=optuna`` be ours where hydra-ray-launcher or hydra-optuna-sweeper
    are installed, whose configs have the same names."""
    groups = ConfigStore.instance().repo.get("hydra", {})
    groups.get("launcher", {}).pop("ray.yaml", None)
    groups.get("sweeper", {}).pop("optuna.yaml", None)


@contextlib.contextmanager
def no_schema() -> Iterator[None]:
    """Compose without types: unknown keys and wrong values then go through, to be listed afterwards."""
    schema.register(typed=False)
    try:
        yield
    finally:
        schema.register()


def group_choices(loader: ConfigLoader, group: str) -> list[str]:
    """The choices of a config group; names with a leading underscore are parts of others, not choices."""
    # The loader itself would copy its repository and read the search path anew at every call.
    repository = getattr(loader, "repository", loader)
    return [name for name in repository.get_group_options(group, ObjectType.CONFIG) if not name.startswith("_")]


@dataclass
class Composed:
    """What came out, of which overrides, and what was wrong with the others."""

    config: DictConfig | None
    kept: list[str]
    problems: list[str]


def compose_what_works(command: Command, texts: Sequence[str]) -> Composed:
    """Compose; where Hydra fails, continue without the override that it stumbled over."""
    try:
        return Composed(compose(command.config_name, list(texts)), list(texts), [])
    except (HydraException, OmegaConfBaseException, yaml.YAMLError):
        pass  # find out below which override it was
    result = Composed(None, [], [])
    for text in [None, *texts]:
        overrides = [*result.kept, *([] if text is None else [text])]
        try:
            result.config, result.kept = compose(command.config_name, overrides), overrides
        except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
            result.problems.append(one_line(error) if text is None else f"{text.removeprefix('++')}: {one_line(error)}")
            if text is None:
                break  # the defaults themselves do not compose
    return result


def one_line(error: Exception) -> str:
    """What Hydra or YAML says, without the layout."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        choices = [choice for choice in error.options if not choice.startswith("_")]
        return f"there is no {group}={name}{suggestion(close_to(name, choices))} (there are {', '.join(choices)})"
    lines = [line.strip() for line in str(error).splitlines()]
    noise = ("full_key", "object_type", "reference_type")
    return "; ".join(line.rstrip(".") for line in lines if line and not line.startswith(noise))


def origin(command: Command, texts: Sequence[str], key: str) -> str:
    """`` (in GROUP/NAME.yaml)`` for a key that a file of the user's sets, else nothing."""
    loader = GlobalHydra.instance().config_loader()
    for default in reversed(loader.compute_defaults_list(command.config_name, list(texts), RunMode.RUN).defaults):
        package = f"{default.package}." if default.package else ""
        if default.config_path is None or not key.startswith(package):
            continue
        for source in loader.get_sources():
            if source.scheme() == "structured" or not (source.available() and source.is_config(default.config_path)):
                continue  # the schema is no file
            content = source.load_config(default.config_path).config
            if OmegaConf.select(content, key.removeprefix(package), throw_on_resolution_failure=False) is not None:
                return "" if source.provider == "main" else f" (in {default.config_path}.yaml)"
            break  # the first source that has the file wins
    return ""
