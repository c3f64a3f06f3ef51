"""Texts of others where they are shown: secrets of URLs are left out, and nothing steers a terminal."""

from __future__ import annotations

import pytest

from stages.outside import text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://h.test/a/b.pdparams", "https://h.test/a/b.pdparams"),
        ("https://anna:hunter2@h.test:8443/a?sig=hunter2#hunter2", "https://h.test:8443/a"),
        ("s3://KEY:hunter2@bucket/prefix", "s3://bucket/prefix"),
        ("postgresql+psycopg://me:hunter2@db/x?sslpassword=hunter2", "postgresql+psycopg://db/x"),
        ("https://anna:hunt@er2@h.test/x", "https://h.test/x"),
        ("file:///data/x", "file:///data/x"),
        ("/data/x?y", "/data/x?y"),
        ("s3://bucket/a b", "s3://bucket/a b"),
        ("http://u:hunter2@[h/x?hunter2", "http://[h/x"),
    ],
)
def test_a_url_is_told_without_its_secrets(address: str, shown: str) -> None:
    assert text.url(address) == shown


def test_urls_inside_a_text_are_told_so_too() -> None:
    said = "GET https://anna:hunter2@h.test/x?sig=hunter2: 403, see (http://h/y?t=hunter2), 'ftp://u:hunter2@h/z'."
    assert text.urls(said) == "GET https://h.test/x: 403, see (http://h/y), 'ftp://h/z'."
    assert text.urls("Max retries exceeded with url: /x/y?sig=hunter2 (Caused by z)") == (
        "Max retries exceeded with url: /x/y (Caused by z)"
    )
    assert text.urls("a://") == "a://" and text.urls("no url: a@b?c") == "no url: a@b?c"


def test_a_terminal_is_not_steered() -> None:
    assert text.plain("a\x1b[2Jb\x07c\x9bd\u202ee") == "a�[2Jb�c�d�e"
    assert text.plain("tab\tline\nend ä 漢") == "tab\tline\nend ä 漢"
    assert text.told("\x1b]0;x\x07 http://u:p@h/?q") == "�]0;x� http://h/"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("a\x1b[2J\u202eb\u2028c\x85d", r"a\x1b[2J\u202eb\u2028c\x85d"),
        ("\udcff.zip", r"\udcff.zip"),  # a file's name that is no UTF-8
        ("ä 漢 \u200d 'it' \\", "ä 漢 \u200d 'it' \\"),
        ("see http://u:hunter2@h/?q\nx", r"see http://h/\nx"),
    ],
)
def test_a_message_stays_on_its_line(given: str, shown: str) -> None:
    assert text.line(given) == shown


def test_a_long_word_and_a_long_message_are_cut_in_the_middle() -> None:
    word = text.line(f"there is no {'x' * 5000}y; look")
    assert word.startswith("there is no xxx") and word.endswith("xy; look") and len(word) < 450 and "..." in word
    message = text.line("begin " + "word " * 5000 + "end")
    assert message.startswith("begin word") and message.endswith("word end") and len(message) == text.LONGEST
    assert text.line("w " * 1000) == "w " * 1000
