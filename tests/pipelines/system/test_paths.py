"""Paths for people are short; what only looks like one of these paths stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.system.paths import shorten

FOLDER, HOME = Path("/home/u/work"), Path("/home/u")


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("/home/u/work/artifacts/demo/x.pdparams", "artifacts/demo/x.pdparams"),
        ("cannot read /home/u/work/a.json: no such file", "cannot read a.json: no such file"),
        ("'/home/u/data/c.json' and /home/u", "'~/data/c.json' and ~"),
        ("see /home/u/work", "see ."),
        ("in /home/u.", "in ~."),
        ("/home/u/workshop/x", "~/workshop/x"),
        ("/home/unity/x", "/home/unity/x"),
        ("/data/home/u/work/x", "/data/home/u/work/x"),
        ("sqlite:////home/u/work/mlflow.db", "sqlite:////home/u/work/mlflow.db"),
        ("/mnt/coco", "/mnt/coco"),
    ],
)
def test_paths_in_a_text(text: str, short: str) -> None:
    assert shorten(text, FOLDER, HOME) == short


def test_values_of_all_kinds() -> None:
    given = {"data": {"root": "/home/u/coco", "sizes": [320, "/home/u/work/x"]}, "seed": 0, "store": None}
    assert shorten(given, FOLDER, HOME) == {"data": {"root": "~/coco", "sizes": [320, "x"]}, "seed": 0, "store": None}
    assert shorten("/usr/lib", Path("/"), Path("/")) == "/usr/lib"  # nothing is relative to the root
