"""A report's tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stages.outside.text import plain
from stages.report import float_blocks, sensitivity, tables
from stages.report.schema import ReportContent
from stages.report.schema_blocks import SensitivityContent

LOG_WIDTH = 400
"""Columns where standard output is no terminal: enough for the tables, which would be folded at the usual 80."""


def stdout_console(log_width: int = LOG_WIDTH) -> Console:
    """Standard output for tables, ``log_width`` columns wide if it is no terminal.

    A text is shown as it is, whatever it holds; what has a style is a `rich.text.Text`.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = log_width
    return console


def print_sensitivity(content: SensitivityContent) -> None:
    """Print the table of ``sensitivity.json`` and how to read it."""
    console = stdout_console()
    print_table(sensitivity.table(content), console)
    console.print(sensitivity.explained(content), soft_wrap=True, markup=False)


def print_tables(content: ReportContent, console: Console | None = None) -> None:
    """Print the two main tables of ``report.json`` and its gates (by default to standard output)."""
    console = console or stdout_console()
    shown = [tables.latency_table(content, mode) for mode in tables.MODE_NAMES]
    if content.get("gates"):
        shown.append(tables.gate_table(content))
    if (blocks := content.get("float_blocks")) and blocks["blocks"]:
        shown.append(float_blocks.block_table(blocks))
    for source in shown:
        print_table(source, console)
    if headline := float_blocks.headline(content):
        console.print(headline, soft_wrap=True, markup=False)
    for sentence in tables.invalid_timings(content):
        console.print(Text.assemble(("*", "yellow"), f" {plain(sentence)}"), soft_wrap=True)


def print_table(source: tables.Table, console: Console) -> None:
    """Print one table with its title."""
    table = Table(title=Text(plain(source.title), "bold"), title_justify="left")
    for name in source.header:
        table.add_column(Text(plain(name)), overflow="fold")
    for row in source.rows:
        table.add_row(*(_STYLED.get(cell, Text(plain(cell))) for cell in row))
    console.print(table)


_STYLED = {
    tables.NOTHING: Text(tables.NONE_SHOWN, "dim"),
    "pass": Text("pass", "green"),
    "fail": Text("fail", "red"),
}
