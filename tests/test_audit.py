"""`make audit`: what pip-audit answers, a service that cannot be reached or knows nothing, and a machine without it."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from requirements import audit
from tests.conftest import ROOT

FINE: dict[str, Any] = {"name": "numpy", "version": "1.26.4", "vulns": []}
BAD = {"name": "pyyaml", "version": "5.1", "vulns": [{"id": "X-1", "fix_versions": ["5.4"]}, {"id": "X-2"}]}
UNASKED = {"name": "paddledet", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def test_what_it_answers_is_sorted() -> None:
    verdict = audit.judge({"dependencies": [FINE, BAD, UNASKED]})
    assert verdict.known == ["pyyaml 5.1: X-1, mended by 5.4", "pyyaml 5.1: X-2, mended by no version yet"]
    assert (verdict.unasked, verdict.packages) == (["paddledet"], 3)


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (json.dumps({"dependencies": [FINE]}), 0, "0 known vulnerabilities, 1 of 1 packages asked about"),
        (json.dumps({"dependencies": [FINE, BAD]}), 1, "pyyaml 5.1: X-1, mended by 5.4"),
        (json.dumps({"dependencies": [UNASKED]}), 2, "1 of 1 packages not audited: the service knows nothing of them"),
        ("", 2, "not audited, the service of pip-audit does not answer as it should (no network)"),
        (None, 2, audit.INSTALL),
    ],
)
def test_nothing_unknown_is_called_safe(answer: str | None, code: int, said: str, tmp_path: Path) -> None:
    """A stand-in on the path, which answers as pip-audit 2.10 does."""
    if answer is None and importlib.util.find_spec("pip_audit"):
        pytest.skip("pip-audit is installed")
    if answer is not None:
        program = tmp_path / "pip-audit"
        program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\necho no network >&2\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(tmp_path), "/usr/bin", "/bin"])
    command = [sys.executable, str(ROOT / "requirements" / "audit.py")]
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == code and said in done.stdout + done.stderr, done


def test_make_names_the_program() -> None:
    assert "requirements/audit.py" in (ROOT / "Makefile").read_text()
    assert all((ROOT / lock).is_file() for lock in audit.LOCKS)
