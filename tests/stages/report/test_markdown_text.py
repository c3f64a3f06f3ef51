"""Whatever a class or an error is called, a Markdown reader sees exactly that."""

from __future__ import annotations

import html
import re

import pytest
from markdown_it import MarkdownIt

from stages.report.markdown_text import code, escape

TEXTS = [
    *("<script>alert(1)</script>", '"q" & &lt; &amp; &#60;', "${{}} {{7*7}}", "a|b", "a\\|b", "a\nb\r\n# c"),
    *("![x](http://y)", "[1, 3, 64, 64]: shape", "27.07*", "*a* **b** _c_ (__d__) a_b_c a__b__", "~~x~~ ~/a to ~/b"),
    *(
        "# heading",
        "1. x",
        "10) y",
        "- z",
        "+ z",
        "---",
        "===",
        "> q",
        ">q",
        "C:\\new\\[x]\\",
        "back\\",
        "-0.3",
        "+0.1",
    ),
    *("`x` ``y``", "ppyoloe_tiny", "$a$"),
]


def text_of(markup: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", markup)).strip()


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_shown_as_it_is(text: str) -> None:
    reader = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    shown = " ".join(text.split())
    paragraph = reader.render(escape(text))
    assert (text_of(paragraph), paragraph.count("<")) == (shown, 2), "one paragraph, and no element in it"
    item = reader.render(f"- {escape(text)}\n- next")
    assert item.count("<li>") == 2 and item.count("<") == 6
    cells = re.findall("<td>(.*?)</td>", reader.render(f"| a | b |\n| --- | --- |\n| {escape(text)} | c |"))
    assert [text_of(cell) for cell in cells] == [shown, "c"] and "<" not in cells[0]
    assert text_of(reader.render(f"x {code(text)} y")) == f"x {' '.join(text.splitlines())} y"


def test_plain_words_stay_readable_without_a_reader() -> None:
    for text in ("ppyoloe_tiny", "27.07*", "-0.3 (95 %)", "copy ~/a to ~/b", "AMD EPYC (2 cores)", "C:\\data"):
        assert escape(text) == text
