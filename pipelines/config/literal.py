"""Values of overrides that are text: a path, a name, an address. They are taken as they were typed.

Hydra's grammar knows no ``#``, ``(1)`` or ``数据`` in a value, and reads ``1e3``, ``a,b`` and ``{a:1}`` as a number, a
sweep and a section. Where the option is text, such a value can mean only itself, and is quoted here for its user. What
may mean something else stays what it is: ``null``, quotes, ``${...}``, escapes, a comma; except where the whole names a
file or a folder (of a sweep, only without ``-m``).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.config.quoting import hydra_quoted
from pipelines.config.schema import PipelineConfig, backend_options
from stages.options.types import alternatives, field_types


def as_typed(overrides: Sequence[str], *, multirun: bool = False) -> list[str]:
    """The overrides, with quotes around the values that Hydra would not take as they were typed.

    Args:
        overrides: ``key=value`` and whatever else stands on the command line; what is no text option stays as it is.
        multirun: commas separate the values of a sweep.
    """
    return [_as_typed(text, multirun) for text in overrides]


def given(overrides: Sequence[str], key: str) -> str | None:
    """What the last of the overrides says of a text option, without Hydra; ``None`` if none can be read."""
    values = [text.partition("=")[2] for text in as_typed(overrides) if text.startswith(f"{key}=")]
    read = [override.value() for value in values if (override := _read(value)) and not override.is_sweep_override()]
    return next((str(value) for value in reversed(read) if value is not None), None)


def is_text(key: str) -> bool:
    """Whether the option at a dotted key is text."""
    return str in alternatives(_kind(key))


def is_texts(key: str) -> bool:
    """Whether the option at a dotted key is a list of texts."""
    return list[str] in alternatives(_kind(key))


def is_whole(key: str) -> bool:
    """Whether the option at a dotted key takes whole numbers, and no others."""
    kinds = alternatives(_kind(key))
    return int in kinds and float not in kinds


def is_option(key: str) -> bool:
    """Whether there is an option (or a section) at a dotted key."""
    return _kind(key) is not None


def _as_typed(override: str, multirun: bool) -> str:
    key, equals, value = override.partition("=")
    name = key.lstrip("+")
    if not equals or key.startswith("~"):
        return override
    if is_text(name):
        made = _text(value, multirun)
    elif is_texts(name):
        made = _texts(value)
    else:
        return override
    return override if made is None else f"{key}={made}"


def _text(value: str, multirun: bool) -> str | None:
    """A text in quotes; ``None`` if it can stay as it is."""
    exists, read = _exists(value), _read(value)
    if read is None:
        if multirun and "," in value and not exists:
            return None  # it may be a sweep: the check tells how to quote it
        return hydra_quoted(value, interpolates=not exists and _interpolates(value))
    if read.is_sweep_override():
        return hydra_quoted(value) if exists and not multirun else None
    means: Any = read.value()
    if means is None or isinstance(means, QuotedString):
        return None
    if isinstance(means, str):
        return hydra_quoted(value) if exists and (means != value or "${" in value) else None
    return None if str(means) == value else hydra_quoted(value)


def _texts(value: str) -> str | None:
    """A list of texts with quotes around each; ``None`` if it can stay as it is, or where an item ends is not clear."""
    plain = re.fullmatch(r"\s*\[[^]\[{}'\"\\]*\]\s*", value) and not re.search(r"\([^)]*,", value)
    if not plain or _read(value) is not None:
        return None
    inside = value.strip()[1:-1]
    return "[" + ",".join(_text(item.strip(), False) or item.strip() for item in inside.split(",")) + "]"


def _read(value: str) -> Override | None:
    """The value as Hydra reads it; ``None`` if it cannot."""
    try:
        return OverridesParser.create().parse_override(f"key={value}")
    except HydraException:
        return None


def _interpolates(value: str) -> bool:
    """Whether OmegaConf finds something to replace in it, and can read that."""
    try:
        return "${" in value and OmegaConf.is_interpolation(OmegaConf.create({"key": value}), "key")
    except OmegaConfBaseException:
        return False


def _exists(value: str) -> bool:
    try:
        return bool(value) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a zero byte, or there is no such home
        return False


def _kind(key: str) -> Any:
    """The type of the option at a dotted key, or ``None``."""
    kind: Any = PipelineConfig
    names = key.split(".")
    if names[0] == "backend" and len(names) > 1:
        kind, names = backend_options().get(names[1]), names[2:]
    for name in names:
        kind = field_types(kind).get(name) if dataclasses.is_dataclass(kind) and isinstance(kind, type) else None
    return kind
