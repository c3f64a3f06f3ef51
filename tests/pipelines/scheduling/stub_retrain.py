"""Stands in for ``detpress retrain``: its exit codes, its ``last.json``, and a real run of stub stages inside.

``python -m tests.pipelines.scheduling.stub_retrain run.artifacts=DIR [tracking.uri=URL]``; what it does stands in
``DIR/stub.json``, which a test can rewrite between two runs:
``{"outcomes": ["failed", "promoted"], "seconds": 0.1, "stubborn": false}``, an outcome per run, the last one for good.
Each run leaves the moments of its begin and end in ``DIR/spans.jsonl``.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CODES = {"promoted": 0, "refused": 2, "kept": 3, "failed": 4, "unchanged": 5}


def note(artifacts: Path, what: str) -> None:
    """Add a line to ``spans.jsonl``."""
    with (artifacts / "spans.jsonl").open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        stream.write(json.dumps({"what": what, "pid": os.getpid(), "at": time.time()}) + "\n")


def main() -> int:
    """One run; returns its exit code."""
    given = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    artifacts = Path(given["run.artifacts"])
    plan: dict[str, Any] = {"outcomes": ["promoted"], "seconds": 0.0}
    if (artifacts / "stub.json").is_file():
        plan |= json.loads((artifacts / "stub.json").read_text())
    note(artifacts, "begin")
    number = len((artifacts / "spans.jsonl").read_text().splitlines())
    if plan.get("stubborn"):
        # Neither it nor its child, in a session of its own as a stage's worker is, heeds SIGTERM.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(300)"
        child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        (artifacts / "grandchild").write_text(str(child.pid))
        time.sleep(300)
    begins = [line for line in (artifacts / "spans.jsonl").read_text().splitlines() if '"begin"' in line]
    outcome = plan["outcomes"][min(len(begins), len(plan["outcomes"])) - 1]
    run = ""
    if "tracking.uri" in given:
        run = pipeline(artifacts, given["tracking.uri"], float(plan["seconds"]))
    else:
        time.sleep(float(plan["seconds"]))
    note(artifacts, "end")
    print(f"stub: {outcome}", file=sys.stderr)
    last = artifacts / "retrain" / "last.json"
    last.parent.mkdir(exist_ok=True)
    told = {"outcome": outcome, "reason": f"because of run {number}", "run_id": run, "exit_code": CODES[outcome]}
    last.write_text(json.dumps(told))
    print(last)
    return CODES[outcome]


def pipeline(artifacts: Path, uri: str, seconds: float) -> str:
    """A whole run of stub stages, told to a real MLflow server; returns its id."""
    from pipelines.config.options.tracking import TrackingOptions
    from pipelines.tracking.observer import MlflowObserver
    from tests.pipelines import stub_pipeline

    made = stub_pipeline.run(artifacts, seconds, [MlflowObserver(TrackingOptions(uri=uri))])
    (artifacts / f"made-{made['run']}.json").write_text(json.dumps(made))
    return str(made["run"])


if __name__ == "__main__":
    sys.exit(main())
