"""No dependency reports home once ``telemetry.off`` was called on its environment."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.system import telemetry


def test_every_switch_is_set_and_nothing_else_is_touched() -> None:
    env = {"PATH": "/bin", "DO_NOT_TRACK": "false"}
    telemetry.off(env)
    assert env == {"PATH": "/bin", **telemetry.SWITCHES}
    assert env["DO_NOT_TRACK"] == "true"  # MLflow takes "1" for a no


@pytest.mark.slow
def test_mlflow_believes_it() -> None:
    env = dict(os.environ)
    telemetry.off(env)
    code = (
        "from mlflow.telemetry import get_telemetry_client\n"
        "from mlflow.telemetry.utils import is_telemetry_disabled\n"
        "print(is_telemetry_disabled(), get_telemetry_client())"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "None"]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")
def test_openvino_gives_itself_no_identity(tmp_path: Path) -> None:
    env = {**os.environ, "HOME": str(tmp_path)}
    telemetry.off(env)
    subprocess.run([sys.executable, "-c", "import openvino"], env=env, capture_output=True, check=True)
    assert not (tmp_path / "intel").exists()  # the folder of the client id it makes before it sends
