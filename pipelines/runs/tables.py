"""A report's tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.system.output import out
from stages.outside.text import plain
from stages.report import float_blocks, search, sensitivity, tables, throughput
from stages.report.schema import ReportContent
from stages.report.schema_blocks import SensitivityContent

LOG_WIDTH = 400
"""Columns where standard output is no terminal: enough for the tables, which would be folded at the usual 80."""
WIDTH = 80
"""Columns there of what fits them."""


def stdout_console(log_width: int = LOG_WIDTH) -> Console:
    """Standard output for tables, ``log_width`` columns wide if it is no terminal.

    A text is shown as it is, whatever it holds; what has a style is a `rich.text.Text`.
    """
    console = Console(file=out(), highlight=False, markup=False, emoji=False, force_jupyter=False)
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
    if content.get("throughput"):
        shown.append(throughput.table(content))
    if content.get("gates"):
        shown.append(tables.gate_table(content))
    if (blocks := content.get("float_blocks")) and blocks["blocks"]:
        shown.append(float_blocks.block_table(blocks))
    for source in shown:
        print_table(source, console)
    for headline in (search.headline(content), float_blocks.headline(content)):
        if headline:
            console.print(headline, soft_wrap=True, markup=False)
    if ship := content.get("ship"):
        console.print(ship["sentence"], soft_wrap=True, markup=False)
    for sentence in tables.left_out(content):
        console.print(Text(f"unavailable: {plain(sentence)}", "dim"), soft_wrap=True)
    for sentence in throughput.notes(content):
        console.print(Text(f"throughput: {plain(sentence)}"), soft_wrap=True)
    for sentence in tables.invalid_timings(content):
        console.print(Text.assemble(("*", "yellow"), f" {plain(sentence)}"), soft_wrap=True)


def print_list(header: Sequence[str], rows: Sequence[Sequence[str | Text]], console: Console) -> None:
    """Print rows without lines around them; words are not broken here either."""
    made = [[Text(plain(str(c)), c.style if isinstance(c, Text) else "") for c in row] for row in rows]
    columns = [[name, *map(str, cells)] for name, cells in zip(header, zip(*made, strict=True), strict=True)]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, width in zip(header, _widths(columns, console.width), strict=True):
        table.add_column(name, overflow="fold", width=width)
    for row in made:
        table.add_row(*row)
    console.print(table)


def print_table(source: tables.Table, console: Console) -> None:
    """Print one table with its title. No word is broken: what does not fit the width beside each other goes below.

    Where it is too wide, columns without any content are left out, what is the same in each row is said once below the
    table, and then the columns are shown in several parts, each of which begins with the first.
    """
    # Made plain before anything is measured: what steers a terminal has no width, what stands for it has.
    names, notes = [plain(name) for name in source.header], []
    columns = [[plain(cell) for cell in column] for column in zip(*source.rows, strict=True)]
    if not columns:
        columns = [[] for _ in names]
    if sum(max(map(cell_len, [n, *cells])) + 3 for n, cells in zip(names, columns, strict=True)) >= console.width:
        kept = []
        for i, (name, cells) in enumerate(zip(names, columns, strict=True)):
            if i and set(cells) == {tables.NOTHING}:
                continue
            if i and len(set(cells)) == 1 and (len(cells) > 1 or name in _ABOUT_ALL):
                notes.append(f"{name}: {cells[0]}")
            else:
                kept.append(i)
        names, columns = [names[i] for i in kept], [columns[i] for i in kept]
    title = Text(plain(source.title), "bold") if source.title else None
    for part in _parts(names, columns, console.width):
        table = Table(title=title, title_justify="left")
        widths = _widths([[names[i], *columns[i]] for i in part], console.width)
        for i, width in zip(part, widths, strict=True):
            table.add_column(Text(names[i]), overflow="fold", width=width)
        for row in zip(*(columns[i] for i in part), strict=True):
            table.add_row(*(_STYLED.get(cell, Text(cell)) for cell in row))
        console.print(table)
        title = None
    if notes:
        console.print(plain("; ".join(notes)), soft_wrap=True, markup=False)


def _longest(texts: Sequence[str]) -> int:
    """Columns of the longest word."""
    return max((cell_len(word) for text in texts for word in text.split()), default=1)


def _width(names: Sequence[str], columns: Sequence[Sequence[str]]) -> int:
    """Of a table whose columns are as narrow as their longest word: with a space at each side, and lines between."""
    return sum(_longest([name, *cells]) + 3 for name, cells in zip(names, columns, strict=True)) + 1


def _widths(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Of each column: as wide as its longest word, and as its longest text as long as there is room, from the left.

    Rich would narrow the widest column first, below its longest word.
    """
    widths = [_longest(column) for column in columns]
    room = width - sum(w + 3 for w in widths) - 1
    for i, column in enumerate(columns):
        more = min(max(room, 0), max(map(cell_len, column)) - widths[i])
        widths[i] += more
        room -= more
    while (
        sum(widths) + 3 * len(widths) + 1 > width and max(widths) > _LEAST
    ):  # one word alone is too long: it is folded
        widths[widths.index(max(widths))] -= 1
    return widths


def _parts(names: Sequence[str], columns: Sequence[Sequence[str]], width: int) -> Iterator[list[int]]:
    """Numbers of the columns that stand beside each other; each part begins with the first, and has one more."""
    part = [0]
    for i in range(1, len(names)):
        wider = [*part, i]
        if len(part) > 1 and _width([names[k] for k in wider], [columns[k] for k in wider]) > width:
            yield part
            wider = [0, i]
        part = wider
    yield part


_LEAST = 8  # columns of a column
_ABOUT_ALL = ("Hardware", "Method")
_STYLED = {
    tables.NOTHING: Text(tables.NONE_SHOWN, "dim"),
    "pass": Text("pass", "green"),
    "fail": Text("fail", "red"),
    "undecided": Text("undecided", "yellow"),
    "not judged": Text("not judged", "yellow"),
}
