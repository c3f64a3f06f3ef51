"""Marks runs as KILLED whose process is gone, in their ``run.json`` and in MLflow: ``python -m`` this, JSON on stdin.

A process of its own, so that a scheduler that runs for months does not carry MLflow around.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines import history
from pipelines.redact import redact_text
from pipelines.tracking_options import TrackingOptions

_SECONDS = 180.0


def mark_interrupted(artifacts: Path, tracking: Mapping[str, Any], folder: Path) -> str:
    """Do it in a child, started in ``folder``; returns what went wrong, or nothing.

    Where this could not, the next run marks them too.
    """
    request = json.dumps({"artifacts": str(artifacts), "tracking": dict(tracking)})
    command = [sys.executable, "-m", "pipelines.scheduling.marking"]
    env = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(
            command, input=request, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder, env=env
        )
    except (OSError, subprocess.SubprocessError) as error:
        return redact_text(str(error))
    if done.returncode == 0:
        return ""
    return redact_text((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1])


def main() -> int:
    """Read the request and mark."""
    request = json.load(sys.stdin)
    history.mark_killed(Path(request["artifacts"]))
    options = TrackingOptions(**request["tracking"])
    if options.enabled:
        from pipelines.tracking_store import connect, store_uri, sweep

        local = store_uri(options).removeprefix("sqlite:///")
        if local != store_uri(options) and not Path(local).is_file():
            return 0  # nothing was ever tracked there
        sweep(connect(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
