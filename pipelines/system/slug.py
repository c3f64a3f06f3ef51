"""Names that users chose, as names of folders and as values in MLflow's queries: text is never a path or a query."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping

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


def findable(text: str) -> str:
    """``text`` with other characters for those that no filter of MLflow can ask for (see `quoted`)."""
    one_kind = text.replace('"', "'") if "'" in text else text
    return re.sub(r"\\+\Z", lambda found: "_" * len(found[0]), one_kind)


def quoted(text: str) -> str:
    """``text`` as a string of MLflow's filters, which know no escapes but take a backslash in front of a quote for one.

    Raises:
        ConfigError: it has both kinds of quotes, or ends with a backslash.
    """
    if findable(text) != text:
        raise ConfigError(
            [f"MLflow cannot look for the name {text}; use one kind of quotes at most, and no backslash at its end"]
        )
    quote = '"' if "'" in text else "'"
    return f"{quote}{text}{quote}"


def matching(wanted: Mapping[str, str]) -> str:
    """The filter of MLflow for what has all these values; there is no other place that writes one.

    Args:
        wanted: field, e.g. ``tags.node`` -> its value.

    Raises:
        ConfigError: a value that no filter can ask for.
    """
    return " AND ".join(f"{field} = {quoted(value)}" for field, value in wanted.items())
