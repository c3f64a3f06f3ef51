"""Records of runs that are damaged, made by hand or no files at all, given to every command that reads them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.attack.attempt import Case, attempt, parameters
from tests.attack.generate import NAMES, STRANGE, TEXTS, changed, write_json
from tests.pipelines.stored_runs import stored

ROW: dict[str, Any] = {
    "backend": "stub", "precision": "fp32", "status": "ok", "map": 1.0, "engine_bytes": 3,
    "latency": {"runtime": {"median_ms": 1.0, "low_ms": 0.9, "high_ms": 1.1}, "end2end": None},
    "speedup": {"runtime": 1.0, "end2end": None}, "speedup_interval": {"runtime": [0.9, 1.1]},
    "validity": {"runtime": None, "end2end": None},
}  # fmt: skip
REPORT: dict[str, Any] = {"run_id": "1", "model": "m", "data": "d", "hardware": "h", "rows": [ROW], "gates": []}
RUN: dict[str, Any] = {
    "run_id": "1", "status": "FINISHED", "pipeline": "compress", "started": "2026-01-01T00:00:00+00:00",
    "command": "detpress compress seed=1", "folder": ".", "versions": {"numpy": "1"}, "model": "m", "data": "d",
    "stages": {"latency.stub": {"status": "done", "entry": "latency/0"}},
}  # fmt: skip

ONE = (("reproduce", "1"), ("bundle", "1"), ("promote", "1"))
"""Commands that need the record of one run."""
MANY = (("runs",), ("runs", "--json"), ("gc", "--keep-last", "0", "--dry-run"))
"""Commands that go through all records; a list shows what it can."""
REPORTS = (
    *(("compare", "1", "2"), ("trend", "1", "--json"), ("report", "1"), ("report", "1", "--json")),
    ("pareto", "--json"),
)


WRITES = {
    "promote": ("artifacts/retrain", "artifacts/retrain/lock"),
    **dict.fromkeys(("runs", "trend", "pareto"), ("artifacts/.runs-index.jsonl",)),
}
"""The lock that only one retraining or promotion holds is taken before anything is looked at. What was read of many
runs is kept."""


def runs_of(work: Path) -> Path:
    """Two runs with reports, and a store; the folder of the first."""
    artifacts = work / "artifacts"
    stored(artifacts, "a")
    for name in "12":
        folder = artifacts / "runs" / name
        write_json(folder / "run.json", {**RUN, "run_id": name})
        write_json(folder / "report.json", {**REPORT, "run_id": name})
        (folder / "report.md").write_text("# Report\n")
        (folder / "config.yaml").write_text("seed: 0\n")
    return artifacts / "runs" / "1"


def with_bytes(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda work: (runs_of(work) / file).write_bytes(content) and None


def with_json(file: str, content: Any) -> Callable[[Path], None]:
    return lambda work: write_json(runs_of(work) / file, content)


def with_strange(file: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        path = runs_of(work) / file
        path.unlink()
        make(path)

    return prepare


def cases() -> Iterator[Case]:
    for case in _cases():
        yield dataclasses.replace(case, writes=WRITES.get(case.words[0], ()))


def _cases() -> Iterator[Case]:
    for words in (*ONE, *MANY):
        codes = (0, 2) if words in MANY else (2,)
        for name, text in TEXTS.items():
            yield Case(f"{' '.join(words)}: run.json {name}", words, with_bytes("run.json", text), codes)
        for name, make in STRANGE.items():
            yield Case(f"{' '.join(words)}: run.json {name}", words, with_strange("run.json", make), codes)
    for words in REPORTS:
        for name, text in TEXTS.items():
            prepare = with_bytes("report.json", text)
            yield Case(f"{' '.join(words)}: report.json {name}", words, prepare, (0, 2))
        for name, make in STRANGE.items():
            yield Case(f"{' '.join(words)}: report.json {name}", words, with_strange("report.json", make), (0, 2))
    commands = (*ONE, *MANY)
    for i, (name, content) in enumerate(changed(RUN, 60, seed=1)):
        words = commands[i % len(commands)]
        yield Case(f"{' '.join(words)}: run.json {name}", words, with_json("run.json", content), (0, 2))
    for i, (name, content) in enumerate(changed(REPORT, 80, seed=2)):
        words = (*REPORTS[:2], *MANY[:2])[i % 4]
        yield Case(f"{' '.join(words)}: report.json {name}", words, with_json("report.json", content), (0, 2))
    for out in ("/dev/null/x", "artifacts", "artifacts/runs/1/run.json/x", "x" * 300):
        words = ("trend", "1", "--backend", "stub", "--precision", "fp32", "--out", out)
        yield Case(f"trend into {ascii(out)[:24]}", words, lambda work: runs_of(work) and None, (2,))
    for name, text in TEXTS.items():
        yield Case(f"promote 1: config.yaml {name}", ("promote", "1"), with_bytes("config.yaml", text))
        yield Case(f"report 1: report.md {name}", ("report", "1"), with_bytes("report.md", text), (0, 2))
    for name, make in STRANGE.items():
        yield Case(f"promote 1: config.yaml {name}", ("promote", "1"), with_strange("config.yaml", make))
        yield Case(f"report 1: report.md {name}", ("report", "1"), with_strange("report.md", make), (0, 2))
    for i, name in enumerate(NAMES):
        words = (("report",), ("compare",), ("trend",), ("bundle",), ("reproduce",), ("promote",))[i % 6]
        given = Case(f"{words[0]}: a run called {ascii(name)[:20]}", (*words, f"{name}"), with_json("run.json", RUN))
        yield given


CASES = list(cases())


@pytest.mark.parametrize("case", parameters(CASES))
def test_a_record(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)


def test_the_records_are_read_when_nothing_is_wrong_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = Case("", ("runs", "--json"), lambda work: runs_of(work) and None, (0,))
    attempt(case, tmp_path, monkeypatch)
    assert json.loads((tmp_path / "work/artifacts/runs/1/run.json").read_text())["run_id"] == "1"
