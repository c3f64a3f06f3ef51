"""What may follow on a command line: sub-commands, flags, config groups and keys, runs, schedules.

Called at every press of Tab, so nothing is imported that is not needed for the word at hand; neither Hydra nor rich.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

CONFIG = ("compress", "plan", "finetune", "sensitivity", "retrain", "schedule")
"""Commands whose arguments are Hydra's."""
SCHEDULE = ("add", "list", "status", "history", "logs", "serve", "pause", "resume", "remove", "run", "run-now", "stop")
SHELLS = ("bash", "zsh", "fish")
_NAMED = SCHEDULE[2:5] + SCHEDULE[6:]
_OF_CONFIG = (
    "--help",
    "--cfg",
    "--info",
    "--resolve",
    "--multirun",
    "--config-dir",
    "--config-name",
    "--debug",
    "--verbose",
)
FLAGS: dict[str, tuple[str, ...]] = {
    "promote": ("--artifacts", "--force", "--name", "--uri"),
    "rollback": ("--artifacts", "--name", "--uri"),
    "champion": ("--artifacts", "--json", "--name", "--uri"),
    "runs": ("--artifacts", "--json", "--last"),
    "report": ("--artifacts", "--html", "--json"),
    "compare": ("--artifacts", "--json"),
    "trend": ("--artifacts", "--backend", "--json", "--last", "--out", "--precision"),
    "pareto": ("--artifacts", "--backend", "--data", "--json", "--model", "--out", "--uri"),
    "reproduce": ("--artifacts", "--fresh", "--run"),
    "ui": ("--allowed-hosts", "--artifacts", "--host", "--port", "--uri"),
    "gc": ("--artifacts", "--dry-run", "--keep-last", "--runs", "--store"),
    "bundle": ("--artifacts",),
    "verify": ("--json", "--min-agreement", "--sha"),
    "predict": ("--json", "--no-pictures", "--out", "--threshold"),
    "doctor": ("--artifacts", "--json"),
    "size": (),
    "import-config": ("--method", "--reader", "--write"),
    "completion": (),
}
"""The other commands, with their long flags."""
_OWN_FLAGS = {"compress": ("--exit-if-unchanged",), "retrain": ("--dry-run",), "plan": ("--json",)}
_SCHEDULE_FLAGS = {
    "list": ("--json",),
    "status": ("--json",),
    "history": ("--json", "--last"),
    "logs": ("--follow",),
}
_RUNS = ("report", "compare", "trend", "reproduce", "bundle", "promote")
"""Commands that take a run."""
_KEYS = {"bundle": ("backend=", "precision=", "golden=", "out=")}


def candidates(words: Sequence[str]) -> list[str]:
    """Whole words that may stand in place of the last of ``words``, which follow ``detpress``; the last may be empty.

    Empty where a file's name is wanted, or nothing is known: the shell then offers files.
    """
    *before, word = words or [""]
    return sorted({found for found in _all(before, word) if found.startswith(word)})


def _all(before: Sequence[str], word: str) -> Iterable[str]:
    if not before:
        return [*CONFIG, *FLAGS, "--help", "--version"]
    command, rest = before[0], before[1:]
    if rest and rest[-1] == "--artifacts":
        return []
    if word.startswith("-"):
        return _flags(command, rest)
    if command == "completion":
        return SHELLS
    if command == "schedule" and rest and rest[0] in SCHEDULE[1:]:
        return _schedules(_artifacts(rest)) if rest[0] in _NAMED and len(rest) == 1 else []
    if command in CONFIG:
        first = SCHEDULE if command == "schedule" and not rest else ()
        return [*first, *_overrides(word, explained=bool(rest) and rest[-1] in ("--help", "-h"))]
    if command in _RUNS:
        return ["latest", *_runs(_artifacts(rest)), *_KEYS.get(command, ())]
    return []


def _flags(command: str, rest: Sequence[str]) -> tuple[str, ...]:
    if command == "schedule" and rest and rest[0] in SCHEDULE[1:]:
        return (*_SCHEDULE_FLAGS.get(rest[0], ()), "--artifacts", "--store", "--help")
    if command in CONFIG:
        # A schedule is one config: it takes no --multirun.
        return tuple(
            f for f in (*_OF_CONFIG, *_OWN_FLAGS.get(command, ())) if (command, f) != ("schedule", "--multirun")
        )
    return (*FLAGS.get(command, ()), "--help", "--debug", "--verbose")


# --- the config -----------------------------------------------------------------------------------------------------


def _overrides(word: str, *, explained: bool) -> Iterator[str]:
    """``GROUP=CHOICE`` and ``KEY=VALUE``; keys of a section once its name and a dot are typed.

    Args:
        explained: the word follows ``--help``: names of keys and sections alone.
    """
    key, equals, _ = word.partition("=")
    signs = key[: len(key) - len(key.lstrip("+~"))]
    groups = _groups()
    if equals:
        yield from (f"{key}={value}" for value in _values(key.lstrip("+~"), groups))
        return
    end = "" if explained else "="
    if "." not in key and not explained:
        yield from (f"{signs}{group}=" for group in groups)
    section, _, _ = key.lstrip("+~").rpartition(".")
    for name, inner in _keys(section):
        yield f"{signs}{name}." if inner else f"{signs}{name}{end}"


def _groups() -> dict[str, list[str]]:
    """Config group -> its choices, from the folder ``conf``."""
    import conf

    folders = [path for path in Path(conf.__file__ or "").parent.iterdir() if path.is_dir() and path.name != "hydra"]
    found = {path.name: [f.stem for f in path.glob("*.yaml") if not f.name.startswith("_")] for path in folders}
    return {name: choices for name, choices in found.items() if choices}


def _keys(section: str) -> Iterator[tuple[str, bool]]:
    """The keys of a section (empty: the whole config), and of each whether it is a section itself."""
    kind = _kind(section)
    if section == "backend":
        from stages import backends

        yield from ((f"backend.{name}", True) for name in backends.names())
    elif kind is not None:
        from stages.options.types import field_types

        for name, inner in field_types(kind).items():
            key = f"{section}.{name}" if section else name
            yield key, dataclasses.is_dataclass(inner) or key == "backend"


def _kind(section: str) -> type | None:
    """The dataclass of a section."""
    from stages.options.types import field_types

    first, _, inside = section.partition(".")
    if first == "backend" and inside:
        from stages import backends

        name, _, inside = inside.partition(".")
        kind: type | None = backends.get(name).Options if name in backends.names() else None
    else:
        from pipelines.config.root import PipelineConfig

        kind, inside = PipelineConfig, section
    for part in filter(None, inside.split(".")):
        kind = field_types(kind).get(part) if kind is not None else None
        if not dataclasses.is_dataclass(kind):
            return None
    return kind


def _values(key: str, groups: dict[str, list[str]]) -> list[str]:
    """Of a closed list: a group's choices, an option's names, true and false."""
    if key in groups:
        return groups[key]
    section, _, name = key.rpartition(".")
    kind = _kind(section)
    fields = {f.name: f for f in dataclasses.fields(kind)} if kind is not None else {}
    if kind is None or name not in fields:
        return []
    from stages.options.rules import RULE
    from stages.options.types import alternatives, field_types

    if bool in alternatives(field_types(kind)[name]):
        return ["true", "false"]
    rule = fields[name].metadata.get(RULE)
    return [str(value) for value in rule.names()] if rule is not None and not rule.what else []


# --- what is stored -------------------------------------------------------------------------------------------------


def _artifacts(words: Sequence[str]) -> str:
    for i, word in enumerate(words):
        if word == "--artifacts" and i + 1 < len(words):
            return words[i + 1]
        if word.startswith("--artifacts="):
            return word.partition("=")[2]
    return "artifacts"


def _runs(artifacts: str) -> list[str]:
    """The ids of the runs of a folder."""
    try:
        with os.scandir(Path(artifacts, "runs")) as entries:  # the quickest way with thousands of them
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _schedules(artifacts: str) -> list[str]:
    """The names in a folder's own job store, read as it stands: without the library that keeps it."""
    import sqlite3

    file = Path(artifacts, "schedule", "jobs.db")
    if not file.is_file():
        return []
    try:
        connection = sqlite3.connect(file, timeout=0.2)
        try:
            return [str(row[0]) for row in connection.execute("SELECT id FROM detpress_schedules")]
        finally:
            connection.close()
    except sqlite3.Error:
        return []
