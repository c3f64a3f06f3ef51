"""What may follow on a command line; the lists in it are those of the commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipelines.cli import COMMANDS, main
from pipelines.commands import schedule
from pipelines.commands.completion_words import CONFIG, FLAGS, SCHEDULE, candidates
from pipelines.commands.schedule import put
from pipelines.config.reference import sections
from stages import backends
from tests.pipelines.scheduling.helpers import spec_for, store_of


def test_each_command_is_offered_and_its_flags_are_those_of_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert candidates([""]) == sorted([*COMMANDS, "--help", "--version"])
    assert set(CONFIG) | set(FLAGS) == set(COMMANDS)
    wrong = {}
    for name, flags in FLAGS.items():
        assert main([name, "--help"]) == 0
        shown = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
        if shown != set(flags):
            wrong[name] = shown ^ set(flags)
    assert wrong == {}


def test_the_flags_of_hydras_commands_are_taken(capsys: pytest.CaptureFixture[str]) -> None:
    seen: set[str] = set()  # what is Hydra's is the same in each
    for name in CONFIG:
        takes_more = {"--config-dir", "--config-name", "--cfg", "--help", "--resolve"}
        for flag in set(candidates([name, "--"])) - takes_more - seen:
            seen.add(flag)
            main([name, flag, "no.such.key=1"])
            said = capsys.readouterr().err
            assert "no.such.key" in said and "unrecognized" not in said, (name, flag)


def test_the_sub_commands_of_schedule() -> None:
    assert set(SCHEDULE) == set(schedule.SUBCOMMANDS)
    assert set(SCHEDULE) <= set(candidates(["schedule", ""]))
    assert candidates(["schedule", "add", "schedule.overlap="]) == ["schedule.overlap=queue", "schedule.overlap=skip"]


def test_every_option_can_be_reached() -> None:
    lacking = []
    for section in sections():
        offered = candidates(["compress", f"{section.key}." if section.key else ""])
        lacking += [entry.key for entry in section.entries if f"{entry.key}=" not in offered]
    assert lacking == []
    assert {f"backend.{name}." for name in backends.names()} == set(candidates(["plan", "backend."]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compress", "gate="], ["gate=none", "gate=strict"]),
        (["compress", "experiment=demo", "~compr"], ["~compression.", "~compression="]),
        (["compress", "finetune.enabled="], ["finetune.enabled=false", "finetune.enabled=true"]),
        (["compress", "+finetune.enabled=t"], ["+finetune.enabled=true"]),
        (["compress", "--help", "gate.max_m"], ["gate.max_map_drop"]),
        (["compress", "no.such."], []),
        (["compress", "backend.no_such."], []),
        (["compress", "data.root="], []),
        (["schedule", "logs", "--f"], ["--follow"]),
        (["bundle", "prec"], ["precision="]),
        (["completion", "f"], ["fish"]),
        (["verify", ""], []),
        (["runs", "--artifacts", ""], []),
        (["doctor", "--debug"], ["--debug"]),
        (["schedule", "run"], ["run", "run-now", "run."]),  # else a shell would go on to run-now
    ],
)
def test_what_fits(words: list[str], expected: list[str]) -> None:
    assert candidates(words) == expected


def test_runs_and_schedules_of_the_named_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert candidates(["report", ""]) == ["latest"] and candidates(["schedule", "stop", ""]) == []
    artifacts = tmp_path / "mine"
    put(store_of(artifacts), artifacts / "schedule", spec_for(artifacts, name="nightly"))
    (artifacts / "runs" / "20260101-aaa").mkdir(parents=True)
    (artifacts / "runs" / "latest").symlink_to("20260101-aaa")
    for flag in (["--artifacts", "mine"], [f"--artifacts={artifacts}"]):
        assert candidates(["report", *flag, ""]) == ["20260101-aaa", "latest"]
    assert candidates(["schedule", "stop", "--artifacts", "mine", "nightly", ""]) == []
    monkeypatch.chdir(artifacts.parent)
    artifacts.rename(tmp_path / "artifacts")
    assert candidates(["schedule", "stop", ""]) == ["nightly"]
    (tmp_path / "artifacts" / "schedule" / "jobs.db").write_text("not a database" * 100)
    assert candidates(["schedule", "stop", ""]) == []
