"""Records of runs that are damaged or made by hand: one line and exit code 2, and nothing is removed meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.runs import remembered
from pipelines.runs.garbage import garbage
from pipelines.store.local import Store
from stages.errors import InputError
from tests.pipelines.stored_runs import remembered as run_of
from tests.pipelines.stored_runs import stored

DAMAGED: dict[str, str] = {
    "cut off": '{"stages": {"a": {"ent',
    "empty": "",
    "a list": "[]",
    "stages of another type": json.dumps({"run_id": "1", "stages": [1]}),
    "a stage of another type": json.dumps({"run_id": "1", "stages": {"a": 3}}),
    "an entry of another type": json.dumps({"run_id": "1", "stages": {"a": {"entry": 3}}}),
    "without stages": json.dumps({"run_id": "1"}),
    "deep": "[" * 100_000,
    "no text": "\udcff",
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("dry", [True, False])
def test_gc_removes_nothing_while_a_run_cannot_be_read(
    text: str, dry: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, other = stored(tmp_path, "a"), stored(tmp_path, "b")
    run_of(tmp_path, "1", kept)
    (tmp_path / "runs" / "1" / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    run_of(tmp_path, "2", other)
    command = ["gc", "--keep-last", "1", "--artifacts", str(tmp_path), *(["--dry-run"] if dry else [])]
    assert main(command) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and str(tmp_path / "runs" / "1" / "run.json") in said[0], said
    assert "nothing is removed" in said[0]
    assert Store(tmp_path).names() == sorted([kept, other])


def test_gc_refuses_too_if_a_finished_runs_record_is_gone_or_a_bundles_cannot_be_read(tmp_path: Path) -> None:
    folder = run_of(tmp_path, "1", stored(tmp_path, "a"))
    run_of(tmp_path, "2")
    (folder / "run.json").unlink()
    assert garbage(tmp_path, 1).entries  # it had just begun: there is nothing that it could refer to
    (folder / "report.json").write_text("{}")
    with pytest.raises(InputError, match="nothing is removed"):
        garbage(tmp_path, 1)
    (folder / "report.json").unlink()
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "b.json").write_text("{}")
    with pytest.raises(InputError, match=r"b.json cannot be read: run_id is missing"):
        garbage(tmp_path, 1)


ROW: dict[str, Any] = {
    "backend": "stub", "precision": "fp32", "status": "ok", "map": 1.0, "engine_bytes": 3,
    "latency": {"runtime": None, "end2end": None}, "speedup": {"runtime": None, "end2end": None},
    "speedup_interval": {"runtime": None}, "validity": {"runtime": None, "end2end": None},
}  # fmt: skip
REPORT: dict[str, Any] = {"run_id": "1", "model": "m", "data": "d", "hardware": "h", "rows": [ROW]}
WRONG: dict[str, Any] = {
    "no object": [1],
    "no rows": {key: value for key, value in REPORT.items() if key != "rows"},
    "rows of another type": {**REPORT, "rows": {"a": 1}},
    "a row of another type": {**REPORT, "rows": [3]},
    "a number that is text": {**REPORT, "rows": [{**ROW, "map": "much"}]},
    "no latency": {**REPORT, "rows": [{**ROW, "latency": None}]},
    "a latency without modes": {**REPORT, "rows": [{**ROW, "latency": {}}]},
    "a model that is no text": {**REPORT, "model": ["a"]},
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("command", [["compare", "1", "2"], ["trend", "1"]], ids=["compare", "trend"])
def test_a_report_that_is_damaged_is_one_line(
    command: list[str], content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for run in "12":
        (run_of(tmp_path, run) / "report.json").write_text(json.dumps(REPORT))
    (tmp_path / "runs" / "1" / "report.json").write_text(json.dumps(content))
    assert main([*command, "--artifacts", str(tmp_path)]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1 and "report.json cannot be read" in said[0], said


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("command", ["bundle", "reproduce", "promote"])
def test_a_command_on_one_run_needs_its_record(
    command: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_of(tmp_path, "1")
    (tmp_path / "runs" / "1" / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main([command, "1", "--artifacts", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_list_of_runs_has_the_damaged_one_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in DAMAGED.values():
        folder = run_of(tmp_path / "artifacts", f"r{len(text)}")
        (folder / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
        (folder / "report.json").write_text(json.dumps([1]))
        assert remembered.read_state(folder) is None or "stages" not in (remembered.read_state(folder) or {})
    assert main(["runs", "--json", "--artifacts", str(tmp_path / "artifacts")]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == len({len(text) for text in DAMAGED.values()})
