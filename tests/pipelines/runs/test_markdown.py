"""A report's Markdown on a terminal of 80 columns."""

from __future__ import annotations

import io

from rich.console import Console

from pipelines.runs.markdown import print_markdown
from stages.report.tables import Table

ROWS = [
    ["onnxruntime", "a|b", "<script>", "class_with_a_long_name_1", "None", "first", "C:\\new", "x * y", "[tag]"],
    ["paddle_inference", "&amp;", "*star*", "class_with_a_long_name_2", "None", "second", "_under_", "# no", "`code`"],
]
HEADER = ["Backend", *(f"Column_{i}" for i in range(8))]


def shown(text: str, width: int) -> str:
    stream = io.StringIO()
    print_markdown(text, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


def test_tables_keep_their_words_and_what_is_between_stays_in_order() -> None:
    page = f"# Title\n\nFirst.\n\n{Table('', HEADER, ROWS).markdown()}\n\nSecond.\n"
    text = shown(page, 80)
    assert max(map(len, text.splitlines())) <= 80
    for cell in (cell for row in [HEADER, *ROWS] for cell in row if cell not in ("None", "Column_3")):
        assert cell in text, cell
    assert "Column_3" in text or "None" not in text
    assert text.index("Title") < text.index("First.") < text.index("onnxruntime") < text.index("Second.")


def test_a_line_that_is_no_table_is_text() -> None:
    assert "| alone" in shown("| alone\n\nbehind", 80)
