"""Tables on narrow terminals: no word broken, nothing lost, nothing said thrice."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from pipelines.runs.tables import print_list, print_table
from stages.report.tables import NOTHING, Table

HEADER = [
    "Backend",
    "Hardware",
    "FP32 latency, ms",
    "INT8 latency, ms",
    "INT8 + FP16 latency, ms",
    "Speed-up",
    "Method",
]
ROWS = [
    ["onnxruntime", "AMD EPYC (2 cores)", "13.28*", "8.19", NOTHING, "1.62", "quantization-aware distillation"],
    ["paddle_inference", "AMD EPYC (2 cores)", "19.28", "14.27", NOTHING, "1.35", "quantization-aware distillation"],
]


def shown(table: Table, width: int) -> str:
    stream = io.StringIO()
    print_table(table, Console(file=stream, width=width, highlight=False))
    return stream.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100, 400])
def test_no_word_is_broken_and_none_is_lost(width: int) -> None:
    text = shown(Table("Runtime", HEADER, ROWS), width)
    *lines, notes = text.splitlines()
    assert max(map(len, lines)) <= width
    words = {word for row in [HEADER, *ROWS] for cell in row for word in cell.split() if cell != NOTHING}
    assert {word for word in words if word not in text} <= {"FP16", "+"} and NOTHING not in text
    if width < 400:
        assert notes == "Hardware: AMD EPYC (2 cores); Method: quantization-aware distillation"
        assert "FP16" not in text and text.count("AMD") == 1


def test_what_does_not_fit_beside_goes_below_with_the_names_again() -> None:
    rows = [[f"engine_{i}", *(f"{i}.{k}" for k in range(30))] for i in range(2)]
    text = shown(Table("Wide", ["Engine", *(f"column_{k}" for k in range(30))], rows), 60)
    assert text.count("Wide") == 1 and text.count("engine_1") == text.count("Engine") > 2
    assert all(f"column_{k}" in text and f"1.{k}" in text for k in range(30))
    assert max(map(len, text.splitlines())) <= 60


def test_a_word_longer_than_the_line_is_folded_and_whole() -> None:
    text = shown(Table("", ["Engine", "Name"], [["onnxruntime", "long" * 40]]), 60)
    assert max(map(len, text.splitlines())) <= 60
    assert text.count("long") + text.count("ong\n") > 30 and "onnxruntime" in text


@pytest.mark.parametrize("width", [50, 80, 200])
def test_a_list_breaks_no_word(width: int) -> None:
    stream = io.StringIO()
    rows = [["nightly", "2026-01-01 10:00:00 CET", Text("skipped ×9"), "the tick before it is still running " * 3]]
    print_list(["schedule", "ended", "outcome", "why"], rows, Console(file=stream, width=width, highlight=False))
    text = stream.getvalue()
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert {"nightly", "2026-01-01", "10:00:00", "CET", "skipped", "×9", "running"} <= set(text.split())


def test_a_table_without_rows_is_its_header() -> None:
    assert "Backend" in shown(Table("Nothing", HEADER, []), 80)
