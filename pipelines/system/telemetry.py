"""Dependencies that report home are told not to, through the environment of every process of a run.

Who listens to what was read from the installed packages: MLflow to its own variable and to ``DO_NOT_TRACK`` (only the
literal ``true``); OpenVINO sends an event on plain ``import openvino``, knows no variable of its own and keeps quiet
only under a CI system, which it recognises by ``CI=true``. ONNX Runtime reports on Windows alone, Paddle not at all.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TypeVar

SWITCHES: dict[str, str] = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "CI": "true",  # OpenVINO
    "RAY_USAGE_STATS_ENABLED": "0",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "FASTAPI_OTEL_AUTO_CONFIGURE": "false",  # the web framework of MLflow's server
}


Env = TypeVar("Env", bound=MutableMapping[str, str])


def off(env: Env) -> Env:
    """Switch telemetry off in ``env`` (``os.environ``, or the environment of a child about to be started)."""
    env.update(SWITCHES)
    return env
