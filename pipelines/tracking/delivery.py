"""Send records to MLflow from a process of its own: ``python -m pipelines.tracking.delivery PATH``.

A run that found every result in the store takes a second or two; importing MLflow takes as long again. Such a run
leaves its records where they are and starts this. Nobody waits for it and nobody reads what it prints: what it could
not send it notes beside the records, and the next run tells that and sends them (see ``pipelines/tracking/spool.py``).
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.config.options.tracking import TrackingOptions
from pipelines.system import telemetry
from pipelines.system.redact import redact_text
from pipelines.tracking.client import connect, store_uri
from pipelines.tracking.earlier import one_line, send, tidy, untold
from pipelines.tracking.spool import Spool, meant_for, unsent
from stages.errors import ExitCode
from stages.processes import python


def send_in_background(spool: Spool, options: TrackingOptions, log: Path, resumed_from: str | None = None) -> None:
    """Start the process and leave it alone; it has the spool's lock from now on. What it prints goes to ``log``.

    Args:
        resumed_from: id of the interrupted run that the spool's run continued.

    Raises:
        OSError: it cannot be started.
    """
    more = {"descriptor": spool.fileno(), "resumed_from": resumed_from}
    _start(spool.path, options, log, more)


def send_earlier(runs: Path, options: TrackingOptions) -> list[str]:
    """Send what earlier runs left, in the background, for a command that ends without a run; what has to be told.

    Args:
        runs: the folder of run folders.
    """
    store = redact_text(store_uri(options))
    if not options.enabled or not any(meant_for(path) in (store, None) for path in unsent(runs)):
        return []
    told = untold(runs, store)
    try:
        _start(runs, options, runs.parent / "tracking.log", {})
    except OSError as error:
        told.append(f"MLflow does not have all of the earlier runs yet, the next one sends them: {one_line(error)}")
    return told


def _start(path: Path, options: TrackingOptions, log: Path, more: Mapping[str, Any]) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        process = subprocess.Popen(
            python.command("pipelines.tracking.delivery", str(path)),
            stdin=subprocess.PIPE,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=telemetry.off(python.environment()),
            start_new_session=True,  # it outlives the command, and Ctrl-C at the next one is not for it
            pass_fds=[more["descriptor"]] if "descriptor" in more else [],
        )
    # Not an argument: the store's address may hold a password, which `ps` would show.
    assert process.stdin is not None
    process.stdin.write(json.dumps({"options": dataclasses.asdict(options), **more}).encode())
    process.stdin.close()
    process.returncode = 0  # it is not waited for: no warning about that when the object goes


def main() -> int:
    """Send one spool, if PATH is one, and then what earlier runs left; 0 if all of that has arrived."""
    request = json.load(sys.stdin)
    options, path = TrackingOptions(**request["options"]), Path(sys.argv[1])
    if path.is_dir():
        return _done(tidy(connect(options), options, path, told=True))
    spool = Spool(path, request["descriptor"])
    delivered = False
    try:
        client = connect(options)
        send(spool, options, client)
        delivered = True
    except BaseException as error:
        spool.fail(one_line(error))
        raise
    finally:
        spool.close(delivered=delivered)
    folder = path.parent
    return _done(tidy(client, options, folder.parent, folder.name, request["resumed_from"], told=True))


def _done(problems: list[str]) -> int:
    print(*problems, sep="\n")
    return ExitCode.STAGE_FAILED if problems else ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
