"""A stage's options from the config, and of each the key it was taken from, so that a message can name that key."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

from pipelines.config.schema import PipelineConfig

T = TypeVar("T")
_AS_IT_STANDS: Any = object()


@dataclass(frozen=True)
class Setting:
    """An option that stands elsewhere in the config than the stage's own section."""

    key: str
    value: Any = _AS_IT_STANDS
    """What the stage gets; by default what the config has at ``key``."""


def stage_options(
    options: type[T], config: PipelineConfig, section: str = "", /, **more: Any
) -> tuple[T, dict[str, str]]:
    """A stage's options, and field -> config key: ``stage_options(DistillOptions, config, "compression", model=...)``.

    Args:
        options: the stage's dataclass.
        section: dotted key of the section whose fields are taken, where ``options`` has them too.
        more: fields by name: a ``Setting``, or a plain value, which no key of the config stands for.
    """
    names = {f.name for f in dataclasses.fields(options)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if section:
        own = _at(config, section)
        for name in [f.name for f in dataclasses.fields(own) if f.name in names]:
            values[name], origins[name] = getattr(own, name), f"{section}.{name}"
    for name, given in more.items():
        origins.pop(name, None)
        if isinstance(given, Setting):
            values[name] = _at(config, given.key) if given.value is _AS_IT_STANDS else given.value
            origins[name] = given.key
        else:
            values[name] = given
    return options(**values), origins


def _at(config: PipelineConfig, key: str) -> Any:
    return reduce(lambda part, name: getattr(part, name), key.split("."), config)  # type: ignore[arg-type,return-value]
