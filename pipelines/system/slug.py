"""Names that users chose, as names of folders and as values in MLflow's queries: text is never a path or a query."""

from __future__ import annotations

import re
import unicodedata

from stages.errors import ConfigError

_MOST = 80
"""Bytes of UTF-8 that a name may take of a folder's name, of which file systems allow 255."""


def slug(text: str) -> str:
    """``text`` as a part of a folder's name: letters of any script, digits and ``._+-``; all else becomes ``-``.

    What has only such characters stays as it is, so that folders keep their names. Nothing that comes out leads to
    another folder, is hidden, or is too long.
    """
    plain = re.sub(r"[^\w.+-]+", "-", unicodedata.normalize("NFC", text)).lstrip(".-")
    cut = plain.encode()[:_MOST].decode(errors="ignore").rstrip("-")
    return cut or "unnamed"


def quoted(text: str) -> str:
    """``text`` as a string of MLflow's filters, which know no escapes.

    Raises:
        ConfigError: it has both kinds of quotes.
    """
    for quote in ("'", '"'):
        if quote not in text:
            return f"{quote}{text}{quote}"
    raise ConfigError([f"MLflow cannot look for the name {text}, which has both kinds of quotes; use one kind at most"])
