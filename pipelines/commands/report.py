"""``detpress report``: the report of a run again, as text, as JSON, or the path of its page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipelines.runs.history import find_run
from pipelines.runs.markdown import print_markdown
from pipelines.system.arguments import Parser
from stages.errors import ExitCode, InputError
from stages.outside import files, records
from stages.outside.text import plain
from stages.report import gpu_pack

KINDS = ("report", "promotion", "sensitivity")
"""What a run may have written; `promote` and `sensitivity` have a report of their own. The first one found is shown."""


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print a run's report and return the exit code."""
    parser = Parser(prog="detpress report", description="Show the report of a run again.")
    parser.add_argument(
        "run",
        nargs="?",
        default="latest",
        help="the run's id, its end or its folder; `latest` (the default); or the JSON file of a pack for GPUs",
    )
    parser.add_argument(
        "--json", action="store_true", help="print report.json (promotion.json, sensitivity.json) instead of the tables"
    )
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--html", action="store_true", help="print the path of the report as one HTML page")
    options = parser.parse_args(arguments)
    if options.run.endswith(".json"):
        return _pack(Path(options.run), options)
    folder = find_run(options.run, Path(options.artifacts))
    suffix = ".html" if options.html else ".json" if options.json else ".md"
    named = [folder / f"{kind}{suffix}" for kind in KINDS]
    file = next((path for path in named if path.is_file()), None)
    if file is None:
        if (
            other := next((path for path in map(folder.joinpath, KINDS) if path.with_suffix(".json").is_file()), None)
        ) is not None:
            raise InputError(
                f"{folder} has no page: of this kind of run there is {other.name}.md, shown without --html"
            )
        raise InputError(f"{folder} has no {named[0].name}: the run did not get that far; run its command again")
    if options.html:
        print(file.resolve())
        return ExitCode.DONE
    return _show(_text(file), raw=options.json)


def _pack(file: Path, options: argparse.Namespace) -> int:
    """What ``check.py`` of ``make gpu-pack`` wrote."""
    if options.html:
        raise InputError(f"{file} has no page; it is shown without --html")
    record = gpu_pack.read(file)
    return _show(json.dumps(record, indent=1) if options.json else gpu_pack.render(record), raw=options.json)


def _show(text: str, *, raw: bool) -> int:
    console = Console()
    if console.is_terminal and not raw:
        print_markdown(text, console)
    else:
        print(text.rstrip("\n"))
    return ExitCode.DONE


def _text(file: Path) -> str:
    """What a run wrote, for a terminal. JSON is checked, and shown as it is written."""
    is_json = file.suffix == ".json"
    if is_json:
        records.read(file)
    try:
        text = files.read_text(file, most=records.MOST_BYTES).replace("\r\n", "\n")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}; run its command again") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} cannot be read: it is no UTF-8; run its command again") from error
    if is_json and plain(text) != text:  # the same JSON, in which what would steer a terminal is escaped
        return "".join(c if plain(c) == c else json.dumps(c)[1:-1] for c in text)
    return plain(text)
