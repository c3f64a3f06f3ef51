"""The models of `conf/model` beside the one that a config has chosen, read as Hydra would compose them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

import conf
from stages.errors import ConfigError
from stages.options.model import ModelOptions


def model_names() -> list[str]:
    """What ``model=`` may name; files with a leading underscore are parts of others."""
    return sorted(path.stem for path in _folder().glob("*.yaml") if not path.stem.startswith("_"))


def named_model(name: str) -> ModelOptions:
    """The model ``name`` without weights. ConfigError if there is none of that name."""
    if name not in model_names():
        raise ConfigError([f"there is no model {name} (there are {', '.join(model_names())})"])
    merged = OmegaConf.merge(OmegaConf.structured(ModelOptions), _composed(name))
    return cast(ModelOptions, OmegaConf.to_object(merged))


@functools.cache
def _composed(name: str) -> DictConfig:
    """A file with those that its ``defaults`` name, in their order; ``_self_`` stands for its own content."""
    own: Any = OmegaConf.load(_folder() / f"{name}.yaml")
    defaults = list(own.pop("defaults", []))
    parts = [own if part == "_self_" else _composed(str(part)) for part in defaults]
    merged = OmegaConf.merge(*parts) if "_self_" in defaults else OmegaConf.merge(*parts, own)
    assert isinstance(merged, DictConfig)
    return merged


def _folder() -> Path:
    return Path(str(conf.__file__)).parent / "model"
