"""Texts of others where they are shown: what would be markup, a formula or a secret there is told as plain text.

Elsewhere: Markdown (`stages/report/markdown_text.py`), HTML (the templates escape, `stages/report/html.py`), figures
(`stages.report.figures.label`), a terminal's tables (`pipelines.runs.tables.stdout_console`).
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>|\\^`{}]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


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
    return _URL.sub(lambda found: _told(found[0]), text)


def _told(address: str) -> str:
    """The URL, and the punctuation behind it that belongs to the sentence."""
    plain = address.rstrip(".,;:!?)]")
    return url(plain) + address[len(plain) :]


def told(text: str) -> str:
    """A message for a terminal: with `urls`, and without what steers it."""
    return plain(urls(text))


def plain(text: str) -> str:
    """A text for a terminal: without characters that steer it or turn the direction of writing."""
    return _CONTROL.sub("�", text)
