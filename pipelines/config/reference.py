"""Every option with type, default, rule and meaning, from the dataclasses: for ``--help KEY`` and `docs/options.md`.

``python -m pipelines.config.reference`` prints the page; ``make docs`` writes it.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hydra import compose

from pipelines.config import resolvers, schema
from pipelines.config.compose import Command, hydra_for
from pipelines.config.keys import close_to, suggestion
from pipelines.config.load import plain
from pipelines.config.schema import PipelineConfig, backend_options
from stages.errors import InputError
from stages.options.rules import DOC, RULE
from stages.options.types import described, field_types

_WIDTH = 100
_LONGEST = 40
"""Longer values of the default config (a whole architecture) are not repeated beside the default."""


@dataclass(frozen=True)
class Entry:
    """One option; texts are empty where there is nothing to say."""

    key: str
    type: str
    default: str
    rule: str
    meaning: str


@dataclass(frozen=True)
class Section:
    """The options of one dataclass."""

    key: str
    meaning: str
    entries: list[Entry]


def sections(*, foreign: bool = True) -> list[Section]:
    """All sections of the config in its order, the backends' last.

    Args:
        foreign: the backends of other distributions too.
    """
    used = _default_config()
    found = list(_sections(PipelineConfig, "", used))
    for name, kind in backend_options().items():
        if foreign or kind.__module__.startswith("stages."):
            found += _sections(kind, f"backend.{name}", used)
    return found


def help_on(topic: str) -> str:
    """What ``--help TOPIC`` prints: one option, or all those of a section.

    Raises:
        InputError: there is no such key; with those that may have been meant.
    """
    known = sections()
    for section in known:
        for entry in section.entries:
            if entry.key == topic:
                return _block(entry)
    inside = [s for s in known if s.key and f"{s.key}.".startswith(f"{topic}.")]
    if not inside:
        keys = [entry.key for section in known for entry in section.entries] + [s.key for s in known if s.key]
        last = [key for key in keys if key.rpartition(".")[2] == topic]
        alike = close_to(topic, [key for key in keys if key.count(".") == topic.count(".")])
        raise InputError(f"{topic}: there is no such key{suggestion(last[:3] or alike or close_to(topic, keys))}")
    blocks = [f"{s.key}: {s.meaning}\n\n" + "\n".join(map(_block, s.entries)) for s in inside]
    return "\n".join(blocks)


def page() -> str:
    """`docs/options.md`."""
    lines = [
        "# Options",
        "",
        "Every option of the config, set as `KEY=VALUE` on the command line or in a YAML file of your own.",
        "`detpress compress --help KEY` prints the same, e.g. `--help compression.temperature`, `--help compression`.",
        "This page is made by `make docs`.",
        "",
        "A text is taken as it is typed (`data.root=/x/My photos (1)`), once the shell has taken off its own quotes.",
        "Only commas, `null`, quotes, backslashes and `${...}` have a meaning of their own, unless a file or folder is",
        "called that: quote those for Hydra inside of the shell's quotes (`'data.name=\"a,b\"'`).",
        "",
        "`null` means that nothing is set, and every option whose type says so takes it. Numbers have to be finite.",
    ]
    for section in sections(foreign=False):
        lines += ["", f"## {section.key or 'Top level'}", ""]
        lines += [section.meaning, ""] if section.key else []
        lines += ["| option | type | default | rule | meaning |", "| --- | --- | --- | --- | --- |"]
        for entry in section.entries:
            rule = entry.rule.removeprefix("it must be ").removeprefix("it must ")
            cells = (f"`{entry.key}`", entry.type, entry.default, rule, entry.meaning)
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _sections(kind: type, key: str, used: Mapping[str, Any], meaning: str = "") -> Iterator[Section]:
    types = field_types(kind)
    entries, inner = [], []
    for f in dataclasses.fields(kind):
        name = f"{key}.{f.name}" if key else f.name
        now = used.get(f.name)
        if dataclasses.is_dataclass(types[f.name]):
            inner.append((types[f.name], name, now if isinstance(now, Mapping) else {}, f.metadata.get(DOC, "")))
        elif name != "backend":
            default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
            text = _shown(default)
            if f.name in used and now != default and len(_shown(now)) <= _LONGEST:
                text += f" (the default config sets {_shown(now)})"
            rule = f.metadata.get(RULE)
            entries.append(
                Entry(name, described(types[f.name]), text, rule.text if rule else "", f.metadata.get(DOC, ""))
            )
    yield Section(key, meaning or _first_paragraph(kind), entries)
    for part in inner:
        yield from _sections(*part)


def _default_config() -> dict[str, Any]:
    """The config without overrides."""
    schema.register()
    resolvers.register_resolvers()
    with hydra_for(Command([])):
        return plain(compose("config"))[0]


def _first_paragraph(kind: type) -> str:
    return " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()).replace("``", "`")


def _shown(value: Any) -> str:
    """A value as YAML on one line has it."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    return json.dumps(value)


def _block(entry: Entry) -> str:
    rows = {"type": entry.type, "default": entry.default, "rule": entry.rule, "meaning": entry.meaning}
    lines = [entry.key]
    for name, text in rows.items():
        if text:
            lines.append(textwrap.fill(text, _WIDTH, initial_indent=f"  {name:<9}", subsequent_indent=" " * 11))
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
