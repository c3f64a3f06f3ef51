"""Check a command line and its config before anything runs, and name every problem in one error.

Hydra stops at the first error it meets. So the config is composed here with an empty schema, where nothing stops, and
the result is compared with the dataclasses key by key; what Hydra itself would refuse comes last.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from pipelines.config.compose import Command, compose_what_works, group_choices, hydra_for, no_schema, origin
from pipelines.config.keys import Problem, close_to, leaf_paths, suggestion, unknown_key
from pipelines.config.literal import is_option, is_text, is_texts
from pipelines.config.load import examine
from pipelines.config.quoting import hydra_quoted
from pipelines.config.schema import PipelineConfig
from pipelines.config.space import axis
from pipelines.config.stated import contradictions, read_stated
from stages.errors import ConfigError, InputError, WeightsError

SWEEPER, BASIC = "hydra/sweeper", "basic"
MAX_VARIANTS = 32
"""Of a sweep, this many jobs are checked beforehand; each job is checked again when its turn comes."""


@dataclass
class _Found:
    problems: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Keys whose value could not be read: they are given all the same, and nothing more is said of them."""

    def add(self, *texts: str) -> None:
        for text in texts:
            if text not in self.problems:  # the variants of a sweep share most of their problems
                self.problems.append(text)


def check_command(command: Command, *, inputs: bool = True) -> list[PipelineConfig]:
    """Raise ConfigError with every problem of ``command``, or return the config of each job that was looked at.

    Args:
        command: as typed by the user.
        inputs: check values, files and contradictions too; ``False`` for commands that only show the config.
    """
    found = _Found()
    if command.config_dir is not None and not Path(command.config_dir).is_dir():
        found.add(f"--config-dir: there is no folder {command.config_dir}; check the path")
        command = replace(command, config_dir=None)
    made: list[PipelineConfig] = []
    with hydra_for(command) as loader:
        usable = _usable(command, loader, found)
        with no_schema():
            for variant in _variants(usable):
                loaded = _examine_variant(command, variant, loader, inputs, found)
                made += [loaded] if loaded is not None else []
        if not found.problems:  # what is left is for Hydra to refuse
            for variant in _variants(usable):
                found.add(*compose_what_works(command, [text for _, text in variant]).problems)
    if found.problems:
        raise ConfigError(found.problems)
    return made


def _usable(command: Command, loader: ConfigLoader, found: _Found) -> list[Override]:
    """The overrides that make sense one by one; the problems of the others are added to ``found``."""
    parser = OverridesParser.create(config_loader=loader)
    multirun = command.multirun or "hydra.mode=MULTIRUN" in command.overrides
    searching = any(t.startswith(f"{SWEEPER}=") and t != f"{SWEEPER}={BASIC}" for t in command.overrides)
    usable: list[Override] = []
    for text in command.overrides:
        if "=" not in text and not text.startswith("~"):
            found.add(f"{text}: this is no override; write key=value")
            continue
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            reason = str(error).strip().splitlines()[0]
            hint = "; write $HOME for ~" if "=~" in text else _how_to_quote(text, "; ")
            found.add(f"{text}: this is no valid override ({reason}){hint}")
            usable += _stand_in(text, parser, found)
            continue
        if override.is_sweep_override() and not multirun:
            found.add(
                f"{text}: this stands for several runs; add -m to run each, or "
                f"{_how_to_quote(text) or 'put the value in quotes'}"
            )
            usable += _stand_in(text, parser, found)
        elif problem := _choice_problem(override, loader) or _sweep_problem(override, searching, multirun):
            found.add(problem)
        else:
            usable.append(override)
    return usable


def _sweep_problem(override: Override, searching: bool, multirun: bool) -> str | None:
    """What is wrong with an override as a part of a search (`pipelines/config/space.py`), or of a plain sweep."""
    if searching and override.key_or_group == SWEEPER and not multirun:
        return f"{override.input_line}: a search is several runs; add -m"
    if override.is_interval_sweep() and not searching:
        return f"{override.input_line}: an interval has no end of values; add {SWEEPER}=optuna, or list some"
    if searching and override.is_sweep_override():
        try:
            axis(override)
        except InputError as error:
            return error.message
    return None


def _how_to_quote(text: str, before: str = "") -> str:
    """How the value of an override is written for Hydra and for the shell; nothing where it cannot be text."""
    key, _, value = text.partition("=")
    name = key.lstrip("+")
    if not name or (is_option(name) and not (is_text(name) or is_texts(name))):
        return ""
    if is_texts(name):
        written = f"{key}=['FIRST','SECOND']"
        return f"{before}quote each item for Hydra, and all of it for the shell: {shlex.quote(written)}"
    quotes = '"' if '"' not in value and "\\" not in value else ""
    written = f"{key}={quotes}{value}{quotes}" if quotes else f"{key}={hydra_quoted(value, interpolates=True)}"
    return f"{before}quote the value for Hydra, and all of it for the shell: {shlex.quote(written)}"


def _stand_in(text: str, parser: OverridesParser, found: _Found) -> list[Override]:
    """For an override of a text option that could not be read: the option is given, whatever it says."""
    key, _, value = text.partition("=")
    found.refused.append(key.lstrip("+"))
    return [parser.parse_override(f"{key}={hydra_quoted(value)}")] if is_text(key.lstrip("+")) else []


def _choice_problem(override: Override, loader: ConfigLoader) -> str | None:
    """What is wrong with a choice of a config group (``model=...``); nothing for other overrides."""
    group = override.key_or_group
    choices = group_choices(loader, group)
    if not choices or override.is_delete():
        return None
    value: Any = None if override.is_interval_sweep() else override.value()
    if isinstance(value, dict):
        return None  # keys of the section rather than a choice
    wanted = list(override.sweep_iterator()) if override.is_discrete_sweep() else [value]
    flat = [name for item in wanted for name in (item if isinstance(item, list) else [item])]
    unknown = [str(name) for name in flat if name is not None and str(name) not in choices]
    if not unknown:
        return None
    hint = suggestion(close_to(unknown[0], choices))
    return f"{group}={','.join(unknown)}: there is no such choice{hint} (there are {', '.join(choices)})"


def _variants(overrides: Sequence[Override]) -> Iterator[list[tuple[Override, str]]]:
    """The jobs that ``overrides`` stand for: the first one, then each further value of each sweep on its own."""
    lists = [_values(override) for override in overrides]
    yield [(o, texts[0]) for o, texts in zip(overrides, lists, strict=True)]
    made = 1
    for i, texts in enumerate(lists):
        for text in texts[1:]:
            if made == MAX_VARIANTS:
                return
            yield [(o, text if j == i else lists[j][0]) for j, o in enumerate(overrides)]
            made += 1


def _values(override: Override) -> list[str]:
    if override.is_interval_sweep():
        return axis(override).ends()
    if not override.is_discrete_sweep():
        return [override.input_line or ""]
    values = itertools.islice(override.sweep_string_iterator(), MAX_VARIANTS)
    return [f"{override.get_key_element()}={value}" for value in values]


def _examine_variant(
    command: Command, variant: Sequence[tuple[Override, str]], loader: ConfigLoader, inputs: bool, found: _Found
) -> PipelineConfig | None:
    """Compose one job without the schema and look at what comes out; returns it, if it composes."""
    known = set(leaf_paths(PipelineConfig))
    texts: list[str] = []
    typed: list[str] = []
    for override, text in variant:
        key = override.key_or_group
        if override.is_hydra_override() or group_choices(loader, key):
            texts.append(text)
            continue
        typed.append(key)
        if override.is_delete():
            if key in known:
                texts.append(text)
            else:
                found.add(str(unknown_key(key, known)))
            continue
        if override.is_add() and key in known:
            found.add(f"{text}: the key exists already; write {text.lstrip('+')}")
        texts.append("++" + text.lstrip("+"))
    composed = compose_what_works(command, texts)
    found.add(*composed.problems)
    if composed.config is None:
        return None
    loaded, problems = examine(composed.config, inputs=inputs, finetune_only=command.finetune_only)
    if inputs and loaded.model.inference_dir is not None and not problems:
        problems += _against_the_export(command, loaded, typed, composed.kept)
    for problem in problems:
        if any(f"{problem.key}.".startswith(f"{key}.") for key in found.refused):
            continue
        mine = any(_overlap(key, problem.key) for key in typed)
        found.add(f"{problem}{'' if mine else origin(command, composed.kept, problem.key)}")
    return loaded


def _against_the_export(
    command: Command, config: PipelineConfig, typed: Sequence[str], kept: Sequence[str]
) -> list[Problem]:
    """What the user set, on the command line or in a file of his own, against what the exported model states."""
    try:
        stated = read_stated(Path(str(config.model.inference_dir)))
    except WeightsError as error:
        return [Problem("model.inference_dir", str(error))]
    chosen = (key for key in stated if any(_overlap(own, key) for own in typed) or origin(command, kept, key))
    return list(contradictions(config, stated, chosen))


def _overlap(one: str, other: str) -> bool:
    """Whether one key is the other, or lies in the section that the other names."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")
