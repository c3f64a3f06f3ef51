"""The pages as their readers see them: fenced blocks, the commands in them, and the commands within sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.conftest import ROOT

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "artifacts" / "demo").glob("*.md")])
_FENCE = re.compile(r"^( *)```([^\n`]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_UNCOMMENTED = re.compile(r"""(?:'[^']*'|"[^"]*"|(?<=\S)#|[^#'"])*""")
"""A line up to the ``#`` that a shell takes for the beginning of a comment."""


class Block(NamedTuple):
    """A fenced block."""

    page: str
    line: int
    """Of its first fence."""
    language: str
    text: str


def name_of(page: Path) -> str:
    """A page's path from the top folder."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(name_of(page), text[: found.start()].count("\n") + 1, found[2], found[3])
        for found in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[str]:
    """The commands of a block as they are typed, without the comments behind them; none of another language."""
    if block.language not in ("sh", "console"):
        return []
    lines = re.sub(r" *\\\n *", " ", block.text).splitlines()
    if block.language == "console":  # what is typed stands behind a prompt, what is answered does not
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    return [typed for line in lines if (typed := _UNCOMMENTED.match(line)[0].strip())]  # type: ignore[index]


def all_commands() -> dict[str, list[str]]:
    """The commands in the blocks of every page, by the page's name."""
    found = {name_of(page): [c for block in blocks(page) for c in commands(block)] for page in PAGES}
    return {page: typed for page, typed in found.items() if typed}


def spans(page: Path) -> Iterator[str]:
    """Code within the sentences and tables of a page, on one line each, with what a table escapes."""
    for found in re.findall(r"(?<!`)`([^`]+)`(?!`)", _FENCE.sub("", page.read_text())):
        yield " ".join(found.replace("\\|", "|").split())
