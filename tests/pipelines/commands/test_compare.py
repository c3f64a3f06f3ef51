"""``detpress compare``: two runs from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.execution.runner import Results
from pipelines.runs.outcome import exit_code
from stages.errors import DataError


def run(artifacts: Path, name: str, ms: float, backend: str = "onnxruntime") -> None:
    folder = artifacts / "runs" / name
    folder.mkdir(parents=True)
    row = {
        "backend": backend, "precision": "int8", "map": 50.0, "matches": None,
        "latency": {"runtime": {"median_ms": ms, "rounds_ms": [ms, ms * 1.01, ms]}, "end2end": None},
        "speedup": {"runtime": None}, "speedup_interval": {"runtime": None},
        "validity": {"runtime": "valid", "end2end": None},
    }  # fmt: skip
    report = {"run_id": name, "model": "m", "data": "d", "hardware": f"cpu {backend}", "rows": [row]}
    (folder / "report.json").write_text(json.dumps(report))


def test_the_differences_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "one", 10.0)
    run(tmp_path, "two", 20.0)
    assert main(["compare", "one", "two", "--artifacts", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "2.000×" in out and "slower" in out and "first" in out
    assert main(["compare", "one", "two", "--json", "--artifacts", str(tmp_path)]) == 0
    content: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [c["what"] for c in content["changes"]] == ["runtime", "map"]
    assert content["changes"][0]["change"] == 2 and content["profiles"] == []
    assert "by layer" not in out and "no profile" not in out


def test_what_cannot_be_compared_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(tmp_path, "one", 10.0)
    run(tmp_path, "two", 20.0, backend="openvino")
    (tmp_path / "runs" / "three").mkdir()
    for other, message in (("two", "no engine in common"), ("three", "has no report.json"), ("on", "did you mean one")):
        assert main(["compare", "one", other, "--artifacts", str(tmp_path)]) == 2
        assert message in capsys.readouterr().err


def test_exit_codes_of_gates_and_failures() -> None:
    gates = {"gates": [{"verdict": "pass"}, {"verdict": "fail"}]}
    assert exit_code(Results(), {"gates": []}) == exit_code(Results()) == 0
    assert exit_code(Results(), {"gates": gates["gates"][:1]}) == 0
    assert exit_code(Results(), gates) == 3
    failed = Results(failures={"accuracy": DataError("no images")})
    assert exit_code(failed, gates) == 2, "what failed comes before what was not reached"
