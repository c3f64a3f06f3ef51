"""What the tracking store shows of a run: names of params and metrics, the description, the files worth a copy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

MAX_KEY = 250
MAX_PARAM = 500  # MLflow keeps 6000 characters; a value that long is no longer searched by anyone
MAX_NOTE = 7500  # characters; MLflow keeps 8000 of a tag
MAX_FILE = 1_000_000  # bytes of one copied file
SMALL_SUFFIXES = {".json", ".md", ".yml", ".yaml", ".txt", ".csv", ".html", ".svg", ".png"}

# Part of every options tree, of no use in a table of runs, and long: it is in config.json all the same.
_UNLISTED = {"architecture", "failures", "tracking", "hydra"}


def metric_name(*parts: str) -> str:
    """The parts joined by dots, with the characters that MLflow refuses replaced by ``_``."""
    return re.sub(r"[^\w\-. :/]", "_", ".".join(p for p in parts if p))[:MAX_KEY]


def spelled(value: Any) -> str:
    """A value as one would write it in an override: ``true``, ``null``, ``[640,640]``."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (list, tuple)):
        text = "[" + ",".join(spelled(item) for item in value) + "]"
    elif isinstance(value, Mapping):
        text = "{" + ",".join(f"{k}:{spelled(v)}" for k, v in value.items()) + "}"
    else:
        text = json.dumps(value, default=str)
    return text if len(text) <= MAX_PARAM else text[: MAX_PARAM - 1] + "…"


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested options as dotted names; empty values and what is of no use in a table of runs are left out."""
    params: dict[str, str] = {}
    for key, value in options.items():
        if key in _UNLISTED or value is None or value == "" or value == [] or value == {}:
            continue
        name = metric_name(prefix, str(key))
        if isinstance(value, Mapping):
            params.update(flat(value, name))
        else:
            params[name] = spelled(value)
    return params


def numbers(value: Any, prefix: str = "") -> Iterator[tuple[str, float]]:
    """The numbers in nested dicts with their dotted names; lists and text are passed over."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from numbers(item, metric_name(prefix, str(key)))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and prefix:
        yield prefix, float(value)


def view_columns(before: Sequence[str], names: Sequence[str]) -> list[str]:
    """The columns of the table of runs: those there were, and the results among the metrics ``names``."""
    wanted = re.compile(r"map\.|map_drop\.|latency\.[^.]+\.(\w+\.p50_ms|speedup)$")
    found = [f"metrics.`{name}`" for name in names if wanted.match(name)]
    return [*before, *(column for column in dict.fromkeys(found) if column not in before)]


def small_files(artifact: Mapping[str, Any]) -> Iterator[Path]:
    """The files of an artifact record that people look at; models, images and raw samples stay in the store."""
    for name in sorted(artifact["files"]):
        path = Path(artifact["root"]) / name
        if "/" not in name and path.suffix in SMALL_SUFFIXES and path.is_file() and path.stat().st_size <= MAX_FILE:
            yield path


def run_note(run: Mapping[str, Any], finished: Mapping[str, Any], report_dir: Path | None) -> str:
    """The description of a pipeline run: its report, or why there is none."""
    report = report_dir / "report.md" if report_dir else None
    if report is not None and report.is_file():
        note = report.read_text(encoding="utf-8")
        if len(note) > MAX_NOTE:
            cut = note.rfind("\n", 0, MAX_NOTE)
            note = note[:cut] + "\n\nThe whole report is among the run's artifacts: `report.md`."
        return note
    error = finished["summary"].get("error")
    said = f"\n\n```\n{str(error)[:MAX_NOTE]}\n```" if error else ""
    return f"{finished['status'].capitalize()}: `{run['command']}`{said}"
