"""Pieces of the HTML report that its parts share."""

from __future__ import annotations

from html import escape

from stages.report.rows import Row
from stages.report.tables import COLUMNS, Table, is_word

_LONG = 24  # characters


def section(table: Table, note: str, *, if_any: bool = False) -> str:
    if not table.rows:
        return "" if if_any else f"<h2>{escape(table.title)}</h2><p class='note'>Nothing was measured.</p>"
    return f'<h2>{escape(table.title)}</h2><p class="note">{escape(note)}</p>{table_element(table)}'


def table_element(table: Table) -> str:
    words = [is_word(column) for column in zip(*table.rows, strict=True)]
    head = "".join(
        f"<th{'' if word else ' class=number'}>{escape(cell)}</th>"
        for cell, word in zip(table.header, words, strict=True)
    )
    lines = "".join("<tr>" + "".join(map(cell, row, words)) + "</tr>" for row in table.rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def cell(cell: str, word: bool) -> str:
    if cell == "None":
        return f'<td class="none{"" if word else " number"}">–</td>'
    if cell in ("pass", "fail", "ok", "failed", "unavailable"):
        return f"<td>{badge(cell)}</td>"
    if word:
        # Long sentences get room instead of a tall narrow column; short phrases stay on one line.
        return f'<td class="{"long" if len(cell) > _LONG else "key"}">{escape(cell)}</td>'
    return f"<td class=number>{escape(cell)}</td>"


def badge(kind: str, text: str = "") -> str:
    return f'<span class="badge {escape(kind)}">{escape(text or kind)}</span>'


def name_of(row: Row) -> str:
    return f"{row['backend']} {COLUMNS.get(row['precision'], row['precision'])}"


def digits(value: float | None, digits: int, sign: str = "") -> str:
    return "None" if value is None else f"{value:{sign}.{digits}f}"
