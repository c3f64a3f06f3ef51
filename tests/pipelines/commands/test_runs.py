"""The list of the runs of a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.commands import runs
from tests.pipelines.stored_runs import remembered


def test_the_list_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--artifacts", str(tmp_path)]) == 0
    assert "there are no runs" in capsys.readouterr().out
    rows = [
        {"status": "ok", "backend": "onnxruntime", "precision": "fp32", "map": 41.5, "speedup": {"runtime": None}},
        {
            "status": "ok",
            "backend": "onnxruntime",
            "precision": "int8",
            "map": 40.9,
            "speedup": {"runtime": 2.61},
            "engine_bytes": 2_300_000,
        },
        {"status": "failed", "backend": "openvino", "precision": "int8", "map": None, "speedup": {"runtime": 9.0}},
    ]
    done = remembered(tmp_path, "20260101-a", model="tiny", data="shapes", started="2026-01-01T10:00:00Z")
    (done / "report.json").write_text(json.dumps({"rows": rows}))
    remembered(tmp_path, "20260102-b", status="RUNNING")
    assert runs.main(["--json", "--artifacts", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [(r["id"], r["status"]) for r in listed] == [("20260102-b", "KILLED"), ("20260101-a", "FINISHED")]
    assert (listed[1]["map_fp32"], listed[1]["map"], listed[1]["speedup"]) == (41.5, 40.9, 2.61)
    runs.main(["--artifacts", str(tmp_path), "--last", "2"])
    shown = capsys.readouterr().out
    assert "2.61x" in shown and "2.3 MB" in shown and "2026-01-01 10:00:00" in shown
