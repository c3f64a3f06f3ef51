"""The documentation: every page is in the index, and every relative link leads to a file and a heading that exist."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.conftest import ROOT
from tests.pages import DOCS, PAGES

INDEX = DOCS / "README.md"
LINK = re.compile(r"""\]\(([^()\s]+)\)|(?:href|src)="([^"]+)\"""")


def prose(page: Path) -> str:
    """A page without its code, in which a bracket or a ``#`` is no link and no heading."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda code: code[0] if "](" not in code[0] else "", text)


def links(page: Path) -> list[str]:
    """The relative links of a page, as they stand there."""
    found = [markdown or html for markdown, html in LINK.findall(prose(page))]
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def target(page: Path, link: str) -> Path:
    """The file that a link of a page leads to."""
    name = unquote(link.partition("#")[0])
    return (page.parent / name).resolve() if name else page


def anchors(page: Path) -> set[str]:
    """What a link may name after ``#``: the headings as GitHub writes them."""
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading)  # of a link only its words
        name = re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-")
        found.add(f"{name}-{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for link in links(page):
        file, anchor = target(page, link), link.partition("#")[2]
        if not file.exists() or not file.is_relative_to(ROOT) or (anchor and anchor not in anchors(file)):
            broken.append(link)
    assert broken == []


def test_the_links_and_headings_are_found() -> None:
    """That the test above does not pass because it sees none."""
    assert "docs/images/report.png" in links(ROOT / "README.md") and "docs/README.md" in links(ROOT / "README.md")
    assert "#exit-codes" in links(DOCS / "scheduling.md") and "exit-codes" in anchors(DOCS / "scheduling.md")
    assert "detpress-schedule" in anchors(DOCS / "scheduling.md")  # the heading is code


def test_the_index_names_every_page_and_decision_with_a_sentence() -> None:
    named = {target(INDEX, link) for link in links(INDEX)}
    expected = {page for page in PAGES if page.is_relative_to(DOCS)} - {INDEX}
    assert sorted(str(page.relative_to(ROOT)) for page in expected - named) == []
    rows = re.findall(r"^\| \[[^\]]+\]\(([^)]+)\) \| (.*) \|$", INDEX.read_text(), re.MULTILINE)
    assert expected <= {target(INDEX, link) for link, _ in rows}
    assert all(len(said.split()) > 1 for _, said in rows)


def test_every_picture_is_shown_somewhere() -> None:
    shown = {target(page, link) for page in PAGES for link in links(page)}
    assert sorted(str(p.relative_to(ROOT)) for p in (DOCS / "images").iterdir() if p not in shown) == []
