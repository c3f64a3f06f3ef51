"""An outcome is written down whatever happens: errors, interruptions, and a process that was killed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.retraining.journal import Journal, Outcome, run_and_record
from stages.errors import DataError, StageError

COMMAND = ["detpress", "retrain", "tracking.uri=http://u:hunter2@h"]


def last(folder: Path) -> dict[str, object]:
    told: dict[str, object] = json.loads((folder / "retrain" / "last.json").read_text())
    return told


@pytest.mark.parametrize(
    ("error", "outcome", "code"),
    [
        (DataError("green images"), "refused", 2),
        (StageError("it broke"), "failed", 4),
        (ZeroDivisionError("a bug"), "failed", 4),
    ],
)
def test_what_goes_wrong_is_an_outcome(tmp_path: Path, error: Exception, outcome: str, code: int) -> None:
    def work(_: Outcome) -> None:
        raise error

    assert run_and_record(tmp_path, COMMAND, work) == (code, tmp_path / "retrain" / "last.json")
    told = last(tmp_path)
    assert (told["outcome"], told["exit_code"], told["reason"]) == (outcome, code, str(error))
    assert "hunter2" not in (tmp_path / "retrain" / "history.jsonl").read_text()


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143)])
def test_an_interruption_is_written_down_and_passed_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], stop: BaseException, code: int
) -> None:
    def work(_: Outcome) -> None:
        raise stop

    with pytest.raises(type(stop)):
        run_and_record(tmp_path, COMMAND, work)
    assert (last(tmp_path)["outcome"], last(tmp_path)["exit_code"]) == ("interrupted", code)
    assert capsys.readouterr().out.strip() == str(tmp_path / "retrain" / "last.json")


def test_one_that_was_killed_is_written_down_by_the_next(tmp_path: Path) -> None:
    Journal(tmp_path).begin("detpress retrain killed")
    Journal(tmp_path).begin("detpress retrain next")
    (line,) = Journal(tmp_path).lines()
    assert (line["outcome"], line["exit_code"], line["command"]) == ("interrupted", 137, "detpress retrain killed")


def test_a_wrong_command_line_has_an_outcome_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "finetune.stepz=1", f"run.artifacts={tmp_path}"]) == 2
    assert capsys.readouterr().out.strip() == str(tmp_path / "retrain" / "last.json")
    assert last(tmp_path)["outcome"] == "refused" and "finetune.steps" in str(last(tmp_path)["reason"])
