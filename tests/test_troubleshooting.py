"""The page of messages quotes messages that exist: each is part of a text in the code, with … for what varies."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from pipelines.cli import COMMANDS
from pipelines.config.reference import sections
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = re.findall(r"^\*\*`(.+)`\*\*$", PAGE, re.MULTILINE)


def texts() -> Iterator[str]:
    """Every text in the code, an f-string's values as …; and what the Makefile says."""
    for package in ("pipelines", "stages"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value
    yield re.sub(r"\$\$\w+", "…", (ROOT / "Makefile").read_text())


KNOWN = [" ".join(text.split()) for text in texts()]


def test_the_page_has_messages() -> None:
    assert len(MESSAGES) > 30 and len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_in_the_code(message: str) -> None:
    words = " ".join(message.split())
    assert any(words in text for text in KNOWN), "no text of the code has it: quote the message as it is now"


@pytest.mark.parametrize("name", ["troubleshooting", "glossary"])
def test_each_key_and_command_that_the_page_names_exists(name: str) -> None:
    page = (ROOT / "docs" / f"{name}.md").read_text()
    known = {entry.key for section in sections() for entry in section.entries}
    groups = {key.partition(".")[0] for key in known if "." in key}
    named = {key for key in re.findall(r"\b([a-z]+(?:\.[a-z_0-9]+)+)\b", page) if key.partition(".")[0] in groups}
    named = {key for key in named if not key.endswith(".md")}  # other pages
    assert named - known == set() and named
    prose = re.sub(r"^\*\*`.*$", "", page, flags=re.MULTILINE)
    commands = set(re.findall(r"`detpress ([a-z]+)", prose))
    assert commands <= set(COMMANDS) and commands


def test_a_message_that_was_changed_is_found() -> None:
    """That the test above can fail."""
    assert not any("there is no such kye" in text for text in KNOWN)
