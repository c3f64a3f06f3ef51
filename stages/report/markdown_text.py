"""Text of others (names of classes and models, error messages) inside Markdown: shown as it is, never as markup."""

from __future__ import annotations

import re

# Only what could begin markup is escaped, so that the file reads well without a renderer too: a star or an underscore
# that opens nothing stays. `<` becomes an entity, since some renderers know no backslash before it.
_MARKUP = re.compile(
    r"""
    \\(?=[!-/:-@\[-`{-~]|$)        # a backslash that would escape what follows
    | [`\[\]|]
    | \*(?=\S)
    | (?<![^\W_])_(?=\S)           # an underscore inside a word opens nothing
    | (?<=\S)~                     # of a pair of tildes, the one that closes
    | ^[-+#=](?=[-+#=]*(?:\s|$))   # a heading, list or rule, should the text begin a line
    | ^>
    | <
    | &(?=\#?\w+;)
    """,
    re.VERBOSE,
)
_NUMBERED = re.compile(r"^(\d{1,9})([.)])(?=\s|$)")
_ENTITIES = {"<": "&lt;", "&": "&amp;"}


def escape(text: str) -> str:
    """``text`` on one line, to stand in a paragraph, a list or a cell of a table."""
    line = " ".join(text.split())
    safe = _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line)
    return _NUMBERED.sub(r"\1\\\2", safe)


def code(text: str) -> str:
    """``text`` on one line, as code; for use outside of tables."""
    line = " ".join(text.splitlines())
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def block(text: str) -> str:
    """Lines as a block of code, whatever fences they have themselves."""
    fence = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    return f"{fence}\n{text}\n{fence}"
