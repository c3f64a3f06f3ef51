"""Start a stage's worker, listen to it, and turn however it ended into an artifact or an error."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipelines.system import telemetry
from pipelines.system.user import writable_home
from stages.artifacts import Artifact
from stages.codec import artifact_from_json
from stages.errors import StageCrashed, StageError
from stages.processes import python
from stages.processes.children import Child
from stages.processes.pipes import error_from_json, receive

_GRACE_SECONDS = 3.5  # to write a checkpoint in; a stopped run ends within five seconds as a whole
_LOG_TAIL = 12
_HOME = "home"


def run_worker(
    request: Mapping[str, Any],
    *,
    folder: Path,
    log: Path,
    on_event: Callable[[Mapping[str, Any]], None],
    timeout: float | None = None,
    interpreter: str | None = None,
) -> Artifact:
    """Run ``request`` in a fresh process and return what its stage returned.

    Args:
        request: what ``stages.processes.worker`` reads.
        folder: where ``request.json`` is written.
        log: file that receives everything the stage or a native library prints.
        on_event: called for each progress event, from this thread.
        timeout: seconds after which the process is ended.
        interpreter: another Python than this process's.

    Raises:
        DetpressError: the stage's own error, rebuilt here with its type.
        StageError: it took longer than ``timeout``.
        StageCrashed: the process died without a word (signal, out of memory); the message ends with the log's tail.
    """
    path = folder / "request.json"
    path.write_text(json.dumps(request, indent=1))
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stderr:
        process = Child(
            python.command("stages.processes.worker", str(path), interpreter=interpreter),
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=writable_home(_environment(int(request["threads"]), interpreter), folder / _HOME),
            knows=True,
            grace=_GRACE_SECONDS,
        )
        assert process.stdout is not None
        late = threading.Event()

        def expire() -> None:
            late.set()
            process.end(_GRACE_SECONDS)

        watchdog = threading.Timer(timeout or 0, expire)
        if timeout is not None:
            watchdog.start()
        try:
            last = _listen(process, on_event)
            code = process.wait()
        finally:
            watchdog.cancel()
            process.end(_GRACE_SECONDS)
            process.stdout.close()
    shutil.rmtree(folder / _HOME, ignore_errors=True)  # no part of the result
    if last.get("event") == "result" and code == 0:
        return artifact_from_json(last["artifact"])
    if last.get("event") == "error":
        raise error_from_json(last)
    if late.is_set():
        raise StageError(
            f"the {request['stage']} stage took longer than run.stage_timeout={timeout:g} s and was stopped; "
            "its checkpoint is kept: run again with a larger limit"
        )
    raise _crashed(str(request["stage"]), code, log)


def _environment(threads: int, interpreter: str | None) -> dict[str, str]:
    own = {"OMP_NUM_THREADS": str(threads), "PYTHONUNBUFFERED": "1"}
    return telemetry.off(python.environment(interpreter=interpreter, **own))


def _listen(process: Child, on_event: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Pass progress on until the worker closes its end; the result or error event is returned (or ``{}``)."""
    last: dict[str, Any] = {}
    assert process.stdout is not None
    for event in receive(process.stdout):
        if event.get("event") in ("result", "error"):
            last = event
        else:
            on_event(event)
    return last


def _crashed(stage: str, code: int, log: Path) -> StageCrashed:
    if code < 0:
        name = signal.Signals(-code).name
        cause = f"was killed by {name}"
        if name == "SIGKILL":
            cause += " (the usual reason is that the machine ran out of memory)"
    else:
        cause = f"ended with exit code {code} and no result"
    lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL:]
    tail = [f"    {line}" for line in lines] or ["    (it printed nothing)"]
    return StageCrashed(f"the {stage} process {cause}; its last lines, from {log}:", tail)
