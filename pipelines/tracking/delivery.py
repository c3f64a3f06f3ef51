"""Send a finished run's records to MLflow from a process of its own: ``python -m pipelines.tracking.delivery SPOOL``.

A run that found every result in the store takes a second or two; importing MLflow takes as long again. Such a run
leaves its records where they are and starts this. Should it be killed, the next run sends them.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

from pipelines.config.options.tracking import TrackingOptions
from pipelines.system import telemetry
from pipelines.tracking.client import connect
from pipelines.tracking.spool import Spool
from pipelines.tracking.writer import MlflowWriter
from stages.errors import ExitCode
from stages.processes import python


def send_in_background(spool: Path, options: TrackingOptions, log: Path) -> None:
    """Start the process and leave it alone; what it has to say goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            python.command("pipelines.tracking.delivery", str(spool)),
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=telemetry.off(python.environment()),
            start_new_session=True,  # it outlives the command, and Ctrl-C at the next one is not for it
        )
    # Not an argument: the store's address may hold a password, which `ps` would show.
    assert process.stdin is not None
    process.stdin.write(json.dumps(dataclasses.asdict(options)).encode())
    process.stdin.close()
    process.returncode = 0  # it is not waited for: no warning about that when the object goes


def send(spool: Spool, options: TrackingOptions) -> None:
    """Apply all records of a spool; those that arrived before change nothing."""
    writer = MlflowWriter(connect(options), options, live=False)
    for record in spool.records():
        writer.apply(record)
    writer.flush()


def main() -> int:
    """Send one spool; 0 if its records have arrived, or somebody else is sending them."""
    options = TrackingOptions(**json.load(sys.stdin))
    path = Path(sys.argv[1])
    if not path.is_file():
        return ExitCode.DONE
    try:
        spool = Spool(path)
    except BlockingIOError:
        return ExitCode.DONE
    delivered = False
    try:
        send(spool, options)
        delivered = True
    finally:
        spool.close(delivered=delivered)
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
