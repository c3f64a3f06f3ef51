"""Nobody changes the code of a stage without saying whether its results change; and what "its code" is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from stages.catalog import PADDLE, STAGES
from tests.stages import versions
from tests.stages.versions import COMMAND, LIST, Code, Source, code, current, differences, message

TREE = {
    "data/draw.py": 'from stages.common import size\n\n\nclass Draw:\n    """Draws."""\n    x = size(3)  # pixels\n',
    "common.py": "def size(n: int) -> int:\n    return n\n",
    "run/time.py": """
        from typing import TYPE_CHECKING

        from stages import backends
        from stages.options.time import TimeOptions

        if TYPE_CHECKING:
            from stages.data.draw import Draw

        PROGRAM = ["-m", "stages.run.program"]


        def time(draw: Draw) -> None:
            from stages.later import wait
    """,
    "run/program.py": "PAGE = open('pages/a.html')\n",
    "run/pages/a.html": "<p>",
    "run/pages/b.html": "<b>",
    "run/table.csv": "1",
    "later.py": "def wait() -> None: ...\n",
    "options/time.py": "N = 1\n",
    "backends/__init__.py": 'OWN = ["stages.backends.one.backend:One", "stages.backends.two.backend:Two"]\n',
    "backends/one/backend.py": "ONE = 1\n",
    "backends/two/backend.py": "from stages.common import size\n",
}
STAGES_OF_TREE = {"draw": "stages.data.draw:Draw", "time": "stages.run.time:Time"}
BACKENDS_OF_TREE = {"one": "stages.backends.one.backend:One", "two": "stages.backends.two.backend:Two"}


def tree(root: Path, **changed: str) -> Code:
    """The code of a small project; ``changed`` files replace those of ``TREE``."""
    for name, text in {**TREE, **changed}.items():
        path = root / "stages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = text.strip("\n").split("\n")
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        path.write_text("\n".join(line[indent:] for line in lines) + "\n")
    return code(Source(root), STAGES_OF_TREE, BACKENDS_OF_TREE, {"draw": 1, "time": 4})


def test_the_code_of_every_stage_is_as_listed() -> None:
    lines = differences(json.loads(LIST.read_text(encoding="utf-8")), current())
    if lines:
        pytest.fail(message(lines), pytrace=False)


def test_a_stages_code_is_what_it_imports_anywhere_and_the_programs_it_names(tmp_path: Path) -> None:
    now = tree(tmp_path)
    assert now.stages == {
        "draw": {"stages.data.draw", "stages.common"},
        "time": {"stages.run.time", "stages.run.program", "stages.later", "stages/run/pages/a.html"},
    }
    assert now.on_backends == {"time"}
    assert now.backends == {"one": {"stages.backends.one.backend"},
                            "two": {"stages.backends.two.backend", "stages.common"}}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("data/draw.py", "from stages.common import size\nclass Draw:\n  'Otherwise.'\n  x = (size(\n    3))\n"),
        ("later.py", '"""Waits."""\n\ndef wait() -> None:\n    "Not at all."\n    ...\n'),
        ("common.py", "def size(n: float) -> float:\n    return n\n"),
        ("options/time.py", "N = 2\n"),
        ("backends/__init__.py", "OWN = {}\n"),
    ],
)
def test_words_types_and_layout_options_and_the_list_of_backends_are_no_difference(
    tmp_path: Path, file: str, text: str
) -> None:
    before = tree(tmp_path).listed()
    assert differences(before, tree(tmp_path, **{file: text})) == []


def test_a_difference_names_the_stage_and_the_module(tmp_path: Path) -> None:
    before = tree(tmp_path).listed()
    assert differences(before, tree(tmp_path, **{"later.py": "def wait() -> None:\n    print(2)\n"})) == [
        "time (version 4): stages.later changed"
    ]
    assert differences(before, tree(tmp_path, **{"common.py": "def size(n: int) -> int:\n    return n + 1\n"})) == [
        "draw (version 1): stages.common changed",
        "backend two: stages.common changed; run by time (version 4)",
    ]
    assert differences(before, tree(tmp_path, **{"run/pages/a.html": "<i>"})) == [
        "time (version 4): stages/run/pages/a.html changed"
    ]
    more = tree(tmp_path, **{"later.py": "from stages.common import size\n\ndef wait() -> None: ...\n"})
    assert differences(before, more) == ["time (version 4): stages.later changed"]


def test_backends_with_the_same_difference_share_a_line(tmp_path: Path) -> None:
    shared = {"backends/one/backend.py": "from stages.common import size\n"}
    before = tree(tmp_path, **shared).listed()
    now = tree(tmp_path, **shared, **{"common.py": "def size(n: int) -> int:\n    return n + 1\n"})
    assert "backend one, two: stages.common changed; run by time (version 4)" in differences(before, now)


def test_a_new_version_is_listed_before_it_passes(tmp_path: Path) -> None:
    before = tree(tmp_path).listed()
    now = dataclasses.replace(
        tree(tmp_path, **{"later.py": "def wait() -> None:\n    print(2)\n"}), versions={"draw": 1, "time": 5}
    )
    assert differences(before, now) == ["time: its version is 5, 4 is listed"]
    assert differences(now.listed(), now) == []


def test_stages_and_backends_come_and_go(tmp_path: Path) -> None:
    now = tree(tmp_path)
    before = now.listed()
    before["stages"]["old"] = before["stages"].pop("draw")
    before["backends"]["three"] = before["backends"].pop("one")
    assert differences(before, now) == [
        "draw: new", "old: gone", "backend one: new", "backend three: gone",
    ]  # fmt: skip


def test_the_message_says_what_to_do() -> None:
    said = message(["time (version 4): stages.later changed"])
    assert "  time (version 4): stages.later changed" in said
    assert "Raise `version`" in said and f"`{COMMAND}`" in said


def test_the_list_is_written_anew_whatever_a_merge_left_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(versions, "LIST", tmp_path / "versions.json")
    (tmp_path / "versions.json").write_text("<<<<<<< HEAD\n{")
    assert versions.main(["--accept"]) == 0
    assert "draw: new" in capsys.readouterr().out
    assert versions.main([]) == 0
    assert versions.main(["--accept"]) == 0
    assert capsys.readouterr().out == "nothing to accept\n"


def test_programs_and_backends_are_found_in_this_project() -> None:
    now = current()
    assert "stages.latency.engine_process" in now.stages["latency"]
    assert "stages.distillation.group_member" in now.stages["distill"]
    assert "stages/report/templates/report.html.j2" in now.stages["report"]
    assert {"build", "latency", "accuracy", "detect"} <= now.on_backends
    of_backends = {m for modules in now.backends.values() for m in modules if m.endswith(".backend")}
    assert of_backends and not any(of_backends & modules for modules in now.stages.values())
    assert not {m for m in now.backends["onnxruntime"] if ".openvino." in m}


def test_what_needs_paddle_is_what_reaches_for_it() -> None:
    reaching = {name for name, modules in current().stages.items() if "stages.paddle" in modules}
    assert reaching == {name for name, entry in STAGES.items() if PADDLE in entry.needs}
