"""What users read is plain English: phrases that were replaced do not come back, in pages, help or messages."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

INSTEAD = {
    "goes on": "continues",
    "go on from": "continue from",
    "going on": "continuing",
    "gone on": "continued",
    "went on": "continued",
    "foreign load": "other processes",
    "poisoned": "suspicious data",
    "end2end is made of": "latency breakdown",
    "runtime is made of": "latency breakdown",
    "that nobody believes": "that is ignored",
    "hangs on": "depends on",
    "comes apart": "is split",
}
"""Phrase -> what is written instead."""


def read_by_users() -> Iterator[tuple[Path, str]]:
    """Pages, help texts and templates, and the texts of the code that are no docstrings."""
    yield from ((page, page.read_text()) for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
    yield from ((file, file.read_text()) for file in (ROOT / "conf").rglob("*.yaml"))
    for package in ("pipelines", "stages"):
        yield from ((file, file.read_text()) for file in (ROOT / package).rglob("*.j2"))
        for file in (ROOT / package).rglob("*.py"):
            yield file, "\n".join(texts(ast.parse(file.read_text())))


def texts(tree: ast.AST) -> Iterator[str]:
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.value


def test_no_odd_phrase_is_left() -> None:
    found = [
        f"{file.relative_to(ROOT)}: {phrase!r}; write {INSTEAD[phrase]!r}"
        for file, text in read_by_users()
        for phrase in INSTEAD
        if re.search(rf"\b{phrase}\b(?! onnx runtime)", " ".join(text.lower().split()))  # "time goes on ONNX Runtime"
    ]
    assert found == []


def test_the_texts_of_the_code_are_read() -> None:
    assert list(texts(ast.parse('"""Docstring."""\ndef f(x):\n    "Another."\n    return f"it goes on with {x}"'))) == [
        "it goes on with "
    ]
    assert len(list(read_by_users())) > 300
