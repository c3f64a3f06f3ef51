"""Paths for people are short; what only looks like one of these paths stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.system.paths import shorten

FOLDER, HOME = Path("/h/u/work"), Path("/h/u")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/h/u/work/artifacts/demo/x.pdparams", "artifacts/demo/x.pdparams"),
        ("cannot read /h/u/work/a.json: no such file", "cannot read a.json: no such file"),
        ("'/h/u/data/c.json' and /h/u", "'~/data/c.json' and ~"),
        ("see /h/u/work", "see ."),
        ("in /h/u.", "in ~."),
        ("/h/u/workshop/x", "~/workshop/x"),
        ("/h/unity/x", "/h/unity/x"),
        ("/data/h/u/work/x", "/data/h/u/work/x"),
        ("sqlite:////h/u/work/mlflow.db", "sqlite:////h/u/work/mlflow.db"),
        ("/mnt/coco", "/mnt/coco"),
    ],
)
def test_paths_in_a_text(text: str, short: str) -> None:
    assert shorten(text, FOLDER, HOME) == short


def test_values_of_all_kinds() -> None:
    given = {"data": {"root": "/h/u/coco", "sizes": [320, "/h/u/work/x"]}, "seed": 0, "store": None}
    assert shorten(given, FOLDER, HOME) == {"data": {"root": "~/coco", "sizes": [320, "x"]}, "seed": 0, "store": None}
    assert shorten("/usr/lib", Path("/"), Path("/")) == "/usr/lib"  # nothing is relative to the root
