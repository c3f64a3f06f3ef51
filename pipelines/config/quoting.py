"""Text as a value for OmegaConf and for Hydra's overrides, which read much of it as something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def escaped(value: Any) -> Any:
    """A copy of nested dicts, lists and plain values in which no text is an interpolation to OmegaConf.

    Only ``${`` begins one, and only the backslashes in front of it mean something.
    """
    if isinstance(value, Mapping):
        return {key: escaped(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [escaped(item) for item in value]
    return re.sub(r"(\\*)\$\{", r"\1\1\\${", value) if isinstance(value, str) else value


def hydra_quoted(text: str, *, interpolates: bool = False) -> str:
    """``text`` in quotes, as Hydra's overrides want what their grammar would read otherwise.

    Args:
        interpolates: ``${...}`` in it is still replaced by what it names.
    """
    plain = text if interpolates else str(escaped(text))
    # A backslash means something only in front of a quote, the closing one included.
    return "'" + re.sub(r"(\\*)'", r"\1\1\\'", re.sub(r"(\\+)\Z", r"\1\1", plain)) + "'"
