"""`make gpu-check` where there is no GPU: it says so; what it does with each variant is shown on CPU backends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import backends
from stages.artifacts import Precision
from stages.backends.base import parse_options
from tests.benchmarks import gpu_check


def test_without_a_gpu_it_says_so_and_ends_with_two(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_check, "nvidia_driver", lambda: None)
    assert gpu_check.main(["--out", str(tmp_path)]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert "no NVIDIA GPU" in lines[0] and json.loads(lines[-1])["ok"] == 0
    assert list(tmp_path.iterdir()) == []


def test_every_variant_has_options_that_its_backend_takes() -> None:
    for backend, options in gpu_check.VARIANTS.values():
        found = backends.get(backend)
        found.availability(parse_options(backend, found.Options, options))  # a ConfigError otherwise


@pytest.mark.parametrize("precision", list(Precision))
def test_an_engine_that_runs_is_compared_and_timed(precision: Precision, tmp_path: Path) -> None:
    row = gpu_check.check("onnxruntime", {"tune": False}, precision, tmp_path)
    assert row["status"] == "ok" and row["median_ms"] > 0 and row["difference"] <= row["bound"]
    assert row["int8_share"] == (1 if precision is Precision.INT8 else 0)


def test_an_engine_that_computes_something_else_has_failed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(gpu_check.BOUNDS, Precision.FP32, -1.0)
    row = gpu_check.check("onnxruntime", {}, Precision.FP32, tmp_path)
    assert row["status"] == "failed" and "differs from the graph" in row["reason"]


def test_what_is_missing_is_a_row_and_not_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(gpu_check, "nvidia_driver", lambda: "550.54")
    variants = {"fastdeploy ort": gpu_check.VARIANTS["fastdeploy ort"]}
    monkeypatch.setattr(gpu_check, "VARIANTS", variants)
    assert gpu_check.main(["--out", str(tmp_path)]) == 2
    written = json.loads((tmp_path / "gpu-check.json").read_text())
    assert [row["status"] for row in written["rows"]] == ["unavailable"] * 2
    assert "FastDeploy" in (tmp_path / "gpu-check.md").read_text()
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["unavailable"] == 2


def test_the_exit_code_tells_failures_from_nothing_to_check() -> None:
    assert gpu_check.exit_code([{"status": "ok"}, {"status": "unavailable"}]) == 0
    assert gpu_check.exit_code([{"status": "ok"}, {"status": "failed"}]) == 4
    assert gpu_check.exit_code([{"status": "unavailable"}]) == 2
