"""Hold options against the types and rules of their dataclasses."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stages.errors import ConfigError
from stages.options.rules import KEY, RULE, Rule
from stages.options.types import described, field_types, fits


@dataclass(frozen=True)
class Problem:
    """What is wrong with one key."""

    key: str
    text: str

    def __str__(self) -> str:
        return f"{self.key}: {self.text}" if self.key else self.text


def check_options(options: Any, section: str = "") -> list[Problem]:
    """Everything that is wrong with single values; what several say together, stages and backends check themselves.

    ``None`` means that nothing was set. Numbers have to be finite, whatever their rule.

    Args:
        options: a dataclass of options; those inside it are looked at too.
        section: its dotted key in the config.
    """
    return list(_walk(options, section))


def require_valid(options: Any, section: str = "") -> None:
    """`check_options`, for a stage that is about to run.

    Raises:
        ConfigError: with every problem.
    """
    if problems := check_options(options, section):
        raise ConfigError([str(problem) for problem in problems])


def _walk(options: Any, section: str) -> Iterator[Problem]:
    kinds = field_types(options.__class__)
    for f in dataclasses.fields(options):
        key = f.metadata.get(KEY) or (f"{section}.{f.name}" if section else f.name)
        yield from _problems(getattr(options, f.name), kinds[f.name], f.metadata.get(RULE), key)


def _problems(value: Any, kind: Any, rule: Rule | None, key: str) -> Iterator[Problem]:
    if not fits(value, kind):
        yield Problem(key, f"{value!r} does not fit; it must be {described(kind)}")
    elif dataclasses.is_dataclass(value):
        yield from _walk(value, key)
    elif not _finite(value):
        yield Problem(key, f"{value!r} does not fit; it must be finite")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if dataclasses.is_dataclass(inner):
                yield from _walk(inner, f"{key}.{name}")
    elif value is not None and rule is not None and (text := rule.complaint(value)):
        yield Problem(key, text)


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_finite(inner) for inner in value.values())
    if isinstance(value, (list, tuple)):
        return all(_finite(inner) for inner in value)
    try:
        return not isinstance(value, numbers.Real) or math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False
