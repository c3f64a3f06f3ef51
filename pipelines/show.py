"""A run's report on the terminal: its tables when it ends, the whole of it with ``detpress report RUN``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.config_keys import close_to, suggestion
from stages.errors import InputError
from stages.reporting import float_blocks, tables

LOG_WIDTH = 400
"""Columns where standard output is no terminal: enough for the tables, which would be folded at the usual 80."""


def main(arguments: Sequence[str]) -> int:
    """Print a run's report and return the exit code."""
    parser = argparse.ArgumentParser(prog="detpress report", description="Show the report of a run again.")
    parser.add_argument("run", nargs="?", default="latest", help="the run's id or folder; `latest` (the default)")
    parser.add_argument("--json", action="store_true", help="print report.json instead of the tables")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--html", action="store_true", help="print the path of the report as one HTML page")
    options = parser.parse_args(arguments)
    folder = find_run(options.run, Path(options.artifacts))
    file = folder / ("report.html" if options.html else "report.json" if options.json else "report.md")
    if not file.is_file():
        raise InputError(f"{folder} has no {file.name}: the run did not get that far; run its command again")
    if options.html:
        print(file.resolve())
        return 0
    text = file.read_text(encoding="utf-8")
    console = Console()
    if console.is_terminal and not options.json:
        from rich.markdown import Markdown

        console.print(Markdown(text))
    else:
        print(text.rstrip("\n"))
    return 0


def print_tables(report: Mapping[str, Any], console: Console | None = None) -> None:
    """Print the two main tables of ``report.json`` and its gates (by default to standard output)."""
    console = console or Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    content = dict(report)
    shown = [tables.latency_table(content, mode) for mode in tables.MODE_NAMES]
    if content.get("gates"):
        shown.append(tables.gate_table(content))
    if content.get("float_blocks") and content["float_blocks"]["blocks"]:
        shown.append(float_blocks.block_table(content["float_blocks"]))
    for source in shown:
        print_table(source, console)
    if said := float_blocks.headline(content):
        console.print(said, soft_wrap=True, markup=False)
    for sentence in tables.invalid_timings(content):
        console.print(f"[yellow]*[/] {escape(sentence)}", soft_wrap=True)


def print_table(source: tables.Table, console: Console) -> None:
    """Print one table with its title."""
    table = Table(title=source.title, title_justify="left", title_style="bold")
    for name in source.header:
        table.add_column(name, overflow="fold")
    for row in source.rows:
        table.add_row(*(_STYLED.get(cell, escape(cell)) for cell in row))
    console.print(table)


_STYLED = {"None": "[dim]None[/]", "pass": "[green]pass[/]", "fail": "[red]fail[/]"}


def find_run(run: str, artifacts: Path) -> Path:
    """The folder of ``run``: a path, an id under ``artifacts/runs``, or ``latest``."""
    runs = artifacts / "runs"
    for folder in (runs / run, Path(run)):
        if folder.is_dir():
            return folder
    known = sorted((p.name for p in runs.iterdir() if p.is_dir()), reverse=True) if runs.is_dir() else []
    if not known:
        raise InputError(f"there are no runs under {runs.resolve()}; name their folder with --artifacts DIR")
    raise InputError(f"there is no run {run}{suggestion(close_to(run, known))} ({len(known)} under {runs})")
