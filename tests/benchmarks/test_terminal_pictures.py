"""A command on a terminal of 80 columns, and its picture."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import browser
from tests.benchmarks.terminal_pictures import COLUMNS, local, picture, printed, screen, widest


def test_a_command_sees_a_terminal_of_80_columns(tmp_path: Path) -> None:
    said = printed(["--help"], tmp_path)
    assert 60 < widest(said) <= COLUMNS


def test_no_font_is_fetched_for_a_picture() -> None:
    svg = "<style>@font-face {a: url(x)} @font-face {b: url(y)} .c {d: e}</style>"
    assert local(svg) == "<style> .c {d: e}</style>" and local("<svg/>") == "<svg/>"


def test_a_bar_that_erased_itself_is_gone() -> None:
    bar = "".join(f"\r\x1b[2K\x1b[1Abar {i}\n" if i else "\x1b[?25lbar 0\n" for i in range(3))
    assert screen(f"begins\n{bar}\r\x1b[1A\x1b[2K\x1b[?25hends\n") == "begins\nends\n"


@pytest.mark.slow
def test_what_was_printed_is_drawn(tmp_path: Path) -> None:
    if (reason := browser.missing()) is not None:
        pytest.skip(reason)
    import cv2

    lines = [picture(f"\x1b[1m{text}\x1b[0m", "detpress", tmp_path / f"{len(text)}.png") for text in ("a", "a\n" * 9)]
    small, large = (cv2.imread(str(path)) for path in lines)
    assert small.shape[1] == large.shape[1] and small.shape[0] < large.shape[0] and small.std() > 5
