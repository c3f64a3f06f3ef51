"""From a composed config to plain dataclasses, or to the list of everything that is wrong with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.config.inputs import check_inputs
from pipelines.config.keys import Problem, close_to, compare, suggestion
from pipelines.config.quoting import escaped
from pipelines.config.schema import PipelineConfig
from pipelines.config.user_data import resolve
from pipelines.config.values import check_values
from stages import backends
from stages.errors import ConfigError, InputError
from stages.outside import files, records

_PATHS = {
    "model": ("weights", "inference_dir"),
    "data": (
        *("root", "train_annotations", "train_images", "val_annotations", "val_images"),
        *("unlabeled_images", "calibration_images"),
    ),
    "run": ("artifacts",),
    "compression": ("teacher_weights",),
}
"""Keys in which a leading ``~`` is the home folder (a shell does not expand it behind ``key=``)."""


def load(config: DictConfig, *, finetune_only: bool = False) -> PipelineConfig:
    """The config as plain dataclasses; below this, nobody sees OmegaConf.

    Raises:
        ConfigError: with every problem.
    """
    loaded, problems = examine(config, finetune_only=finetune_only)
    if problems:
        raise ConfigError([str(problem) for problem in problems])
    return loaded


def yaml_mapping(file: Path) -> dict[str, Any]:
    """The content of a YAML file that should be a config. Raises OSError, ValueError or YAMLError."""
    content = OmegaConf.to_container(OmegaConf.create(files.read_text(file, most=records.MOST_BYTES)))
    if not isinstance(content, dict):
        raise ValueError("it is no config")
    return cast(dict[str, Any], content)


def reload(file: Path, overrides: Sequence[str]) -> PipelineConfig:
    """The config that a run wrote down, with ``overrides`` (``key=value``); files it names may be gone by now.

    Raises:
        ConfigError: with every problem.
        InputError: the file cannot be read.
    """
    try:
        written = OmegaConf.create(escaped(yaml_mapping(file)))
    except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
        said = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise InputError(f"{file} cannot be read: {said}; name a run that wrote its config") from error
    config = OmegaConf.merge(written, OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(config, DictConfig)
    loaded, problems = examine(config, inputs=False)
    problems += check_values(loaded)
    if problems:
        raise ConfigError([str(problem) for problem in problems])
    return loaded


def examine(
    config: DictConfig, *, inputs: bool = True, finetune_only: bool = False
) -> tuple[PipelineConfig, list[Problem]]:
    """What fits the schema of ``config`` (composed with or without it), and the problems of the rest.

    Args:
        config: composed; interpolations are resolved here.
        inputs: check values, files and contradictions too, not only keys and types.
        finetune_only: see ``config_inputs.check_inputs``.
    """
    tree, problems = plain(config)
    chosen = tree.pop("backend", {}) or {}
    good, found = compare(tree, PipelineConfig)
    problems += found
    merged = OmegaConf.merge(OmegaConf.structured(PipelineConfig), escaped(good))
    loaded = cast(PipelineConfig, OmegaConf.to_object(merged))
    if isinstance(chosen, Mapping):
        for name, options in chosen.items():
            value, found = _backend(str(name), options)
            problems += found
            loaded.backend[str(name)] = value
    else:
        problems.append(Problem("backend", f"{chosen!r} does not fit; name the backends, e.g. backend=[onnxruntime]"))
    problems += _expand_home(loaded)
    loaded.data.name = loaded.data.name or (Path(loaded.data.root).name if loaded.data.root else loaded.data.kind)
    if inputs:
        wrong = {problem.key for problem in problems}
        later = check_values(loaded)
        resolved = not {"data.kind", "data.val_fraction"} & {*wrong, *(problem.key for problem in later)}
        if resolved:
            found = resolve(loaded.data, finetune_only=finetune_only)
            later, resolved = later + found, not found
        later += check_inputs(loaded, finetune_only=finetune_only, data=resolved)
        problems += [problem for problem in later if problem.key not in wrong]
    return loaded, problems


def plain(config: DictConfig) -> tuple[dict[str, Any], list[Problem]]:
    """``config`` as nested dicts and lists with interpolations resolved, and those that do not resolve."""
    tree: dict[str, Any] = {}
    problems: list[Problem] = []
    _resolve(config, tree, "", problems)
    return tree, problems


def _resolve(node: DictConfig, tree: dict[str, Any], prefix: str, problems: list[Problem]) -> None:
    for name in node:
        key = f"{prefix}{name!s}"
        try:
            value = node[name]
            if isinstance(value, ListConfig):
                value = OmegaConf.to_container(value, resolve=True)
        except (OmegaConfBaseException, OSError) as error:
            problems.append(Problem(key, str(error).splitlines()[0]))
            continue
        if isinstance(value, DictConfig):
            tree[str(name)] = {}
            _resolve(value, tree[str(name)], f"{key}.", problems)
        else:
            tree[str(name)] = value


def _backend(name: str, options: Any) -> tuple[Any, list[Problem]]:
    """The options of one backend as its dataclass."""
    key = f"backend.{name}"
    if name not in backends.names():
        known = ", ".join(backends.names())
        return options, [
            Problem(key, f"there is no such backend{suggestion(close_to(name, backends.names()))} (there are {known})")
        ]
    kind = backends.get(name).Options
    if not isinstance(options, Mapping):
        keys = ", ".join(f.name for f in dataclasses.fields(kind))
        return kind(), [Problem(key, f"{options!r} stands where a section belongs; its keys are {keys}")]
    good, problems = compare(options, kind, prefix=f"{key}.")
    return kind(**good), problems


def _expand_home(config: PipelineConfig) -> list[Problem]:
    problems = []
    for section, names in _PATHS.items():
        part = getattr(config, section)
        for name in names:
            value = getattr(part, name)
            if isinstance(value, str) and value.startswith("~"):
                try:
                    setattr(part, name, str(Path(value).expanduser()))
                except RuntimeError:  # a user without an entry and without HOME, or there is no ~NAME
                    text = f"{value.split('/')[0]} is nobody's home folder here; write the path out"
                    problems.append(Problem(f"{section}.{name}", text))
    return problems
