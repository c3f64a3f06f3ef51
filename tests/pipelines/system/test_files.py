"""Files that are whole or absent; a pipe in the place of one, wherever a user can name it, is refused in one line."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from pipelines.cli import main
from pipelines.runs import bundles
from pipelines.system.failures import tell
from pipelines.system.files import copy_file, require_place, write_text
from stages.artifacts import Bundle
from stages.errors import ExitCode, InputError
from stages.outside.files import NoRegularFile
from tests.pipelines.recipes import fastdeploy


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def still_a_pipe(path: Path) -> bool:
    """And nothing was left beside it."""
    beside = [p for p in path.parent.iterdir() if p.name.startswith(f".{path.name}")]
    return stat.S_ISFIFO(path.stat().st_mode) and beside == []


def test_a_file_is_replaced_and_one_that_fails_leaves_the_old(tmp_path: Path) -> None:
    target = tmp_path / "a"
    write_text(target, "old")
    copy_file(target, tmp_path / "b")
    write_text(target, "new")
    assert (target.read_text(), (tmp_path / "b").read_text()) == ("new", "old")
    with pytest.raises(FileNotFoundError):
        copy_file(tmp_path / "none", target)
    assert target.read_text() == "new" and sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_a_pipe_is_neither_written_nor_replaced(pipe: Path, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x")
    bundle = Bundle(root=tmp_path, files={"text": "0"}, key="bundle/0", backend="stub", precision="int8")
    for write in (
        lambda: write_text(pipe, "x"),
        lambda: copy_file(tmp_path / "text", pipe),
        lambda: bundles.write_zip(bundle, pipe),
    ):
        with pytest.raises(NoRegularFile):
            write()
        assert still_a_pipe(pipe)
    with pytest.raises(InputError, match=r"it is a pipe, no regular file\); name another file with out=FILE"):
        require_place(pipe, "out=FILE")


def test_met_where_nobody_thought_of_it_it_is_still_one_line(pipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoRegularFile) as caught:
        write_text(pipe, "x")
    assert tell(caught.value, debug=False) == ExitCode.WRONG_INPUT
    said = capsys.readouterr().err
    assert said == f"error: {pipe} cannot be used (it is a pipe, no regular file); remove it, or name another file\n"


def test_each_command_refuses_it_before_it_begins(
    pipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    content = fastdeploy("./ppyoloe_crn_l_300e_coco", "ppyoloe_withNMS_image_preprocess", "QuantAware")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(content))
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    os.mkfifo(tmp_path / "mine" / "experiment" / "recipe.yaml")
    for words in (
        ["bundle", "out=pipe"],
        ["trend", "--out", "pipe"],
        ["finetune", "model=ppyoloe_tiny", "data=shapes", "out=pipe"],
        ["import-config", "recipe.yaml", "--write", "mine"],
    ):
        assert main(words) == ExitCode.WRONG_INPUT, words
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert line.startswith("error: ") and "cannot be written (it is a pipe, no regular file); name" in line
        assert still_a_pipe(pipe)
