"""Names that users chose, as names of folders and in MLflow's filters."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipelines.system.slug import quoted, slug
from stages.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("ppyoloe_plus_s", "ppyoloe_plus_s"),
        ("bccd-2024.1+a", "bccd-2024.1+a"),
        ("../../x", "x"),
        ("/etc/passwd", "etc-passwd"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("L'atelier [/x] (1)", "L-atelier-x-1"),
        ("数据 集", "数据-集"),
        (".hidden", "hidden"),
        ("a\\b:c", "a-b-c"),
    ],
)
def test_what_becomes_of_a_name(text: str, folder: str) -> None:
    assert slug(text) == folder


def test_any_text_is_one_short_visible_folder_below_its_parent(tmp_path: Path) -> None:
    draw = random.Random(0)
    letters = "ab./\\~:*?\"'\n\0 -–é数🙂%$`;&|<>"
    for _ in range(500):
        text = "".join(draw.choices(letters, k=draw.randrange(300)))
        made = tmp_path / slug(text)
        assert made.parent == tmp_path and made.resolve().parent == tmp_path.resolve()
        assert not made.name.startswith(".") and len(made.name.encode()) <= 80
        assert slug(made.name) == made.name


def test_quotes_of_filters() -> None:
    assert quoted("a b") == "'a b'"
    assert quoted("l'atelier") == '"l\'atelier"'
    with pytest.raises(ConfigError, match="both kinds of quotes"):
        quoted("a'b\"c")
