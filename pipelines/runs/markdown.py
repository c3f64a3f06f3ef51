"""A report's Markdown on the terminal: text as rich shows it, tables as `tables.print_table` does."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.console import Console
from rich.markdown import Markdown

from pipelines.runs.tables import print_table
from stages.report import tables

_CELLS = re.compile(r"(?<!\\)\|")
_ESCAPED = re.compile(r"\\([!-/:-@\[-`{-~])")


def print_markdown(text: str, console: Console) -> None:
    """Print what ``stages/report/markdown.py`` wrote. Rich alone would break the words of a table that is too wide."""
    for lines in _blocks(text):
        if lines[0].startswith("|") and len(lines) > 1:
            header, _, *rows = map(_cells, lines)
            print_table(tables.Table("", header, rows), console)
        else:
            console.print(Markdown("\n".join(lines)))


def _blocks(text: str) -> Iterator[list[str]]:
    """The lines of each table, and those between two tables."""
    block: list[str] = []
    for line in text.splitlines():
        if block and line.startswith("|") != block[0].startswith("|"):
            yield block
            block = []
        block.append(line)
    if block:
        yield block


def _cells(line: str) -> list[str]:
    """The cells of a row as they were before `stages/report/markdown_text.py` made them safe."""
    return [_plain(cell.strip()) for cell in _CELLS.split(line)[1:-1]]


def _plain(cell: str) -> str:
    if cell == tables.NONE_SHOWN:
        return tables.NOTHING
    return _ESCAPED.sub(r"\1", cell).replace("&lt;", "<").replace("&amp;", "&")
