"""``detpress doctor``: what is there, what is missing, and the line that installs it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from pipelines.commands import doctor
from pipelines.execution.interpreter import ask
from stages import backends
from stages.backends.base import Available, Unavailable
from tests.pythons import stand_in


class _Absent:
    name: ClassVar[str] = "absent"

    def availability(self) -> Available | Unavailable:
        return Unavailable("the package absent is not installed", "pip install absent")


def by_name(checks: list[doctor.Check]) -> dict[str, doctor.Check]:
    return {check.name: check for check in checks}


def without(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    """Pretend that distributions (``_`` for ``-``) have other versions, or ``None``: are missing."""
    changed = {name.replace("_", "-"): version for name, version in versions.items()}
    real = doctor.version_of
    monkeypatch.setattr(doctor, "version_of", lambda name: changed[name] if name in changed else real(name))


@pytest.mark.paddle
def test_a_whole_installation_can_compress(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert doctor.main(["--json", "--artifacts", str(tmp_path / "not" / "yet")]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["can_compress"] is True
    groups = {check["group"] for check in shown["checks"]}
    assert groups - {"gpu"} == {"machine", "paddle", "backend", "tracking"}
    assert {c["name"] for c in shown["checks"] if c["group"] == "backend"} == set(backends.names())


@pytest.mark.paddle
def test_the_table_ends_with_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.endswith("This machine can run `detpress compress`.\n")


@pytest.mark.paddle
def test_missing_paddle_packages_come_with_their_install_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without(monkeypatch, paddledet=None, paddlepaddle=None, paddlepaddle_gpu=None, pandas=None, lap=None)
    checks = by_name(doctor.paddle())
    assert checks["paddledet"].install == "pip install --no-deps paddleslim==2.6.0 paddledet==2.6.0"
    assert checks["paddlepaddle"].install == 'pip install "detpress[paddle]"'
    assert checks["undeclared needs"].install == 'pip install "pandas<3" lap'
    assert doctor.main([]) == 2
    out = capsys.readouterr().out
    assert "pip install --no-deps paddleslim==2.6.0 paddledet==2.6.0" in out
    assert "cannot run `detpress compress` yet" in out


def test_other_versions_than_the_tested_ones_are_reported_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, paddle2onnx="2.0.0", numpy="2.1.0")
    checks = by_name(doctor.paddle())
    assert (checks["paddle2onnx"].status, checks["paddle2onnx"].detail) == (doctor.WARNING, "2.0.0; tested with 1.3.1")
    assert checks["numpy"].status == doctor.MISSING and checks["numpy"].install == 'pip install "numpy<2"'


def test_a_backend_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "names", lambda: ["absent"])
    monkeypatch.setattr(backends, "get", lambda name: _Absent())
    (check,) = doctor.engines()
    assert check == doctor.Check(
        "backend", "absent", doctor.MISSING, "the package absent is not installed", "pip install absent"
    )
    assert not doctor.can_compress([check])


def test_a_backend_that_builds_only_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Absent, "availability", lambda self: Available("builds only", can_run=False))
    monkeypatch.setattr(backends, "names", lambda: ["absent"])
    monkeypatch.setattr(backends, "get", lambda name: _Absent())
    (check,) = doctor.engines()
    assert check == doctor.Check("backend", "absent", doctor.WARNING, "builds only")
    assert not doctor.can_compress([check])


def test_a_cpu_without_int8_instructions_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_cpu_flags", lambda: {"sse2", "avx2"})
    check = by_name(doctor.machine(Path()))["int8 instructions"]
    assert check.status == doctor.WARNING


@pytest.mark.timing
def test_it_is_quick() -> None:
    took = []
    for _ in range(3):  # the best of three: the machine may be busy
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-m", "pipelines.cli", "doctor"], capture_output=True)
        took.append(time.perf_counter() - started)
        assert done.returncode in (0, 2)  # 2: without Paddle
    assert min(took) < 2.0


def test_another_python_with_paddle_is_named_and_its_backends_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ask(str(stand_in(tmp_path / "python")))
    monkeypatch.setattr(doctor, "paddle_python", lambda named: other)
    doctor.main(["--json"])
    checks = [check for check in json.loads(capsys.readouterr().out)["checks"] if check["group"] == "paddle"]
    assert [(check["name"], check["status"]) for check in checks] == [("python", "ok")]
    assert checks[0]["detail"].startswith(f"{other.path}: Python {other.version}, ")


def test_a_python_that_paddle_has_no_build_for_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, paddlepaddle=None)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0, "final", 0))
    (check,) = doctor.paddle_of(doctor.OWN)
    assert check.status == doctor.MISSING and not doctor.can_compress([check])
    monkeypatch.setattr(sys, "version_info", (3, 12, 0, "final", 0))
    assert len(doctor.paddle_of(doctor.OWN)) > 1
