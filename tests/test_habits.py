"""The files that a checkout is worked on with: hooks, the CI workflow, and what each of them calls."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

CHECK_FILES = ROOT / ".ci" / "check_files.py"
BIN = Path(sys.executable).parent


def hooks() -> list[dict[str, Any]]:
    """The hooks of the one repository that is named, which is this one."""
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    return list(local["hooks"])


def command(hook: dict[str, Any]) -> list[str]:
    """A hook's command with the environment that runs the tests in place of ``.venv``."""
    program, *arguments = hook["entry"].split()
    assert program.startswith(".venv/bin/"), "not a tool from requirements.lock"
    return [str(BIN / Path(program).name), *arguments]


def check_files(*paths: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(CHECK_FILES), *map(str, paths)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_the_hooks_call_tools_of_the_locked_environment() -> None:
    found = hooks()
    assert len({hook["id"] for hook in found}) == len(found)
    assert {Path(command(hook)[0]).name for hook in found} == {"ruff", "mypy", "python"}
    for hook in found:
        assert hook["language"] == "system" and hook["name"]
        assert Path(command(hook)[0]).is_file()


@pytest.mark.parametrize("hook", [hook for hook in hooks() if hook["id"] != "mypy"], ids=lambda hook: str(hook["id"]))
def test_a_hook_passes_this_file_and_stops_a_bad_one(hook: dict[str, Any], tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import os \nx = { 'a':1 }")
    for path, code in ((Path(__file__), 0), (bad, 1)):
        done = subprocess.run(
            [*command(hook), str(path)], cwd=ROOT, capture_output=True, text=True, timeout=60
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr


def test_every_tracked_file_passes_the_check_of_files() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    done = check_files()
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.md", b"no newline", "must end with one newline"),
        ("a.md", b"two newlines\n\n", "must end with one newline"),
        ("a.md", b"fine\nblanks \n", ":2: blanks at the end"),
        ("a.md", b"dos\r\n", ":1: blanks at the end"),
        ("a.py", b"<<<<<<< HEAD\n", "unfinished merge"),
        ("a.md", b"see /" + b"home/anna/data\n", ":1: a path in somebody's home"),
        ("a.yaml", b"a: [1\n", "expected"),
        ("a.json", b"{'a': 1}\n", "Expecting property name"),
        ("a.txt", b"caf\xe9\n", "not UTF-8"),
        ("a.bin", b"\0" * 10_000_001, "more than 10000000"),
    ],
)
def test_a_bad_file_is_named_with_its_problem(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    done = check_files(tmp_path / name)
    assert done.returncode == 1 and f"{tmp_path / name}:" in done.stdout and problem in done.stdout, done.stdout


def test_the_workflow_only_calls_ci_run_and_may_only_read() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert set(workflow["on"]) == {"push", "pull_request"}
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert job["timeout-minutes"] == 90 and "permissions" not in job
    checkout, python, run = job["steps"]
    assert checkout["uses"].startswith("actions/checkout@") and python["uses"].startswith("actions/setup-python@")
    assert python["with"]["python-version"] in ("3.10", "3.11", "3.12")  # a string: 3.10 would be 3.1
    assert run == {"run": "bash .ci/run"}


def test_ci_run_parses_and_calls_targets_that_exist() -> None:
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", str(script)], check=True)
    called = re.findall(r"^\s*make ([\w-]+)", script.read_text(), re.MULTILINE)
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"lint", "types", "test"} <= set(called) <= targets
