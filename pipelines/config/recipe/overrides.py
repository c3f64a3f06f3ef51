"""A translation as text: a command line to copy, or an experiment for Hydra."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

from pipelines.config.recipe.source import Translation

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_WORDS = {"null", "true", "false", "nan", "inf"}
"""Texts that Hydra would read as something else."""


_GROUPS = ("model", "data", "compression")


def overrides(found: Translation) -> list[str]:
    """``key=value`` in Hydra's grammar; the choices of groups come first, then what belongs to each."""
    return [f"{key}={_grammar(value)}" for key, value in (*_choices(found), *_values(found))]


def _choices(found: Translation) -> list[tuple[str, Any]]:
    return sorted(found.choices.items(), key=lambda pair: _GROUPS.index(pair[0]))


def _values(found: Translation) -> list[tuple[str, Any]]:
    return sorted(found.values.items(), key=lambda pair: _GROUPS.index(pair[0].partition(".")[0]))


def command_line(found: Translation) -> str:
    """``detpress compress ...``, quoted for a shell."""
    return shlex.join(["detpress", "compress", *overrides(found)])


def experiment(found: Translation, source: str, name: str) -> str:
    """The same as a file of the group ``experiment``.

    Args:
        source: the recipe's file, for its first line.
        name: what the experiment will be called.
    """
    tree: dict[str, Any] = {"defaults": [{f"override /{group}": choice} for group, choice in _choices(found)]}
    for key, value in _values(found):
        *sections, last = key.split(".")
        part = tree
        for section in sections:
            part = part.setdefault(section, {})
        part[last] = value
    head = f"# @package _global_\n# From {source}: detpress compress --config-dir FOLDER experiment={name}\n"
    notes = [*(f"not taken: {text}" for text in found.left), *(f"still to be given: {text}" for text in found.missing)]
    comments = "".join(f"# {' '.join(text.split())}\n" for text in notes)
    return head + comments + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _grammar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(_grammar(item) for item in value)}]"
    if not isinstance(value, str):
        return repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    text = re.sub(r"(\\+)(?=')", r"\1\1", value).replace("'", "\\'")  # a backslash is an escape before a quote only
    trailing = len(text) - len(text.rstrip("\\"))
    return f"'{text}{chr(92) * trailing}'"
