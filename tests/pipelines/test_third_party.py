"""A backend of another distribution: an entry point and a YAML are all it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import ROOT

CODE = """
from dataclasses import dataclass
from stages.backends.onnxruntime.backend import OnnxRuntime
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.options.rules import one_of, option

@dataclass
class Options(OnnxRuntimeOptions):
    shade: str = option("plain", one_of("plain", "dark", "light"), "how dark it is")
    tint: str = "red"

class Theirs(OnnxRuntime):
    name = "theirs"
    Options = Options
"""
YAML = """# @package backend.theirs
# Theirs:  detpress compress backend=[theirs]
defaults:
  - _theirs@_here_
  - _self_

shade: dark
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment with an installed distribution, beside all that this one has; and a folder with its config.

    On PYTHONPATH it would not be found (`stages.processes.python`).
    """
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv" / "lib").glob("python3.*/site-packages")
    (site / "ours.pth").write_text("".join(f"{path}\n" for path in sys.path if path))
    (site / "theirs-1.0.dist-info").mkdir(parents=True)
    (site / "theirs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (site / "theirs-1.0.dist-info" / "entry_points.txt").write_text("[detpress.backends]\ntheirs = theirs:Theirs\n")
    (site / "theirs.py").write_text(CODE)
    (tmp_path / "conf" / "backend").mkdir(parents=True)
    (tmp_path / "conf" / "backend" / "theirs.yaml").write_text(YAML)
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def detpress(folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(folder / "venv" / "bin" / "python"), str(ROOT / "detpress.py"), "pipelines.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.paddle
def test_it_is_configured_planned_and_named_by_doctor(tmp_path: Path, environment: dict[str, str]) -> None:
    own = ["--config-dir", "conf", "model.random_weights=true", "tracking=none", "backend=[theirs,onnxruntime]"]
    plan = detpress(tmp_path, environment, "plan", *own, "--json")
    assert plan.returncode == 0, plan.stderr
    nodes = [stage["id"] for stage in json.loads(plan.stdout)["stages"]]
    assert {"build.theirs.fp32", "build.theirs.int8", "latency.theirs", "detect.theirs"} <= set(nodes)
    shown = detpress(tmp_path, environment, "compress", *own, "--cfg", "job")
    assert "shade: dark" in shown.stdout and "tint: red" in shown.stdout
    wrong = detpress(tmp_path, environment, "plan", *own, "backend.theirs.shad=light")
    assert wrong.returncode == 2 and "did you mean backend.theirs.shade" in wrong.stderr
    wrong = detpress(tmp_path, environment, "plan", *own, "backend.theirs.shade=darc")
    assert wrong.returncode == 2 and "it must be one of plain, dark, light; did you mean dark?" in wrong.stderr
    explained = detpress(tmp_path, environment, "plan", "--help", "backend.theirs")
    assert "how dark it is" in explained.stdout and "backend.theirs.tint" in explained.stdout
    doctor = json.loads(detpress(tmp_path, environment, "doctor", "--json").stdout)
    assert "theirs" in [check["name"] for check in doctor["checks"] if check["group"] == "backend"]
