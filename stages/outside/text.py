"""Texts of others where they are shown: what would be markup, a formula or a secret there is told as plain text.

Elsewhere: Markdown (`stages/report/markdown_text.py`), HTML (the templates escape, `stages/report/html.py`), figures
(`stages.report.figures.label`), a terminal's tables (`pipelines.runs.tables.stdout_console`).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>|\\^`{}]+")
_REQUEST = re.compile(r"(\bwith url: /[^\s?#]*)[?#]\S*")
"""How requests tells the rest of an address, after host and port."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_BREAKS = re.compile(f"[\t\n\ud800-\udfff]|{_CONTROL.pattern}")
LONGEST = 4000
"""Characters of a message on one line."""
_LONGEST_WORD = 400


def url(address: str) -> str:
    """A URL without user, password, query and fragment, which may hold secrets."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return re.sub(r"//[^/]*@", "//", re.split(r"[?#]", address)[0])  # no URL after all
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if parts.scheme and "://" in address else address


def urls(text: str) -> str:
    """A text in which every URL is told as by `url`."""
    return _REQUEST.sub(r"\1", _URL.sub(lambda found: _told(found[0]), text))


def _told(address: str) -> str:
    """The URL, and the punctuation behind it that belongs to the sentence."""
    plain = address.rstrip(".,;:!?)]")
    return url(plain) + address[len(plain) :]


def told(text: str) -> str:
    """A message for a terminal: with `urls`, and without what steers it."""
    return plain(urls(text))


def line(text: str) -> str:
    """A message for one line of a terminal, whatever texts of others are in it.

    With `urls`; what would break the line, steer the terminal or is no character is written as Python writes it
    (``\\n``), and a long word, or a message of more than ``LONGEST`` characters, is shortened in its middle.
    """
    shown = _BREAKS.sub(lambda found: ascii(found[0])[1:-1], urls(text))
    words = " ".join(_shortened(word, _LONGEST_WORD) for word in shown.split(" "))
    return _shortened(words, LONGEST)


def _shortened(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    tail = most // 4
    return f"{text[: most - tail - 3]}...{text[-tail:]}"


def plain(text: str) -> str:
    """A text for a terminal: without characters that steer it or turn the direction of writing."""
    return _CONTROL.sub("�", text)
