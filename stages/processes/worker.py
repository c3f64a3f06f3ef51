"""Run one stage in a process of its own: ``python -m stages.processes.worker REQUEST``.

``REQUEST`` is a JSON file: ``{"stage", "options", "inputs", "out", "work", "seed", "threads", "cores", "device"}``.
Standard output carries one JSON object per line and nothing else; whatever the stage or a native library prints goes to
standard error, which the orchestrator keeps as the stage's log. The last line is ``{"event": "result", ...}`` or
``{"event": "error", ...}``.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import IO, Any

from stages.catalog import stage_class
from stages.codec import dataclass_from_json, inputs_from_json, to_json
from stages.errors import DetpressError, ExitCode
from stages.processes.device import CPU, request_device
from stages.processes.pipes import claim_stdout, die_with_parent, error_to_json, exit_at_once, send


class WorkerContext:
    """The stage's side of the world: events go out as lines of JSON (see ``stages.contract.StageContext``)."""

    def __init__(self, *, out: Path, work: Path, seed: int, threads: int, cores: int, events: IO[str]) -> None:
        self.out = out
        self.work = work
        self.seed = seed
        self.threads = threads
        self.cores = cores
        self._events = events
        self._lock = threading.Lock()

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self.emit({"event": "metric", "name": name, "value": float(value), "step": step})

    def progress(self, done: int, total: int, **fields: float) -> None:
        self.emit({"event": "progress", "done": done, "total": total, **fields})

    def warn(self, message: str) -> None:
        self.emit({"event": "warning", "message": message})

    def info(self, message: str) -> None:
        self.emit({"event": "info", "message": message})

    def detail(self, message: str) -> None:
        self.emit({"event": "info", "message": message, "detail": True})

    def emit(self, event: dict[str, Any]) -> None:
        with self._lock:  # loaders and timers report from threads of their own
            send(self._events, event)


def main(argv: list[str] | None = None) -> int:
    """Run the stage that the request names; the exit code is the error's own (see ``stages.errors``)."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python -m stages.processes.worker REQUEST", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    events = claim_stdout()
    die_with_parent()
    signal.signal(signal.SIGTERM, _terminate)
    request = json.loads(Path(arguments[0]).read_text())
    context = WorkerContext(
        out=Path(request["out"]),
        work=Path(request["work"]),
        seed=request["seed"],
        threads=request["threads"],
        cores=request.get("cores", request["threads"]),
        events=events,
    )
    request_device(request.get("device", CPU), context.info, context.warn)
    try:
        stage_type = stage_class(request["stage"])
        options = dataclass_from_json(stage_type.Options, request["options"])
        inputs = inputs_from_json(stage_type.Inputs, request["inputs"])
        artifact = stage_type(options).run(inputs, context)
    except Exception as error:
        with contextlib.suppress(OSError):  # the log's disk is full, which may be the very error to tell
            print(traceback.format_exc(), file=sys.stderr, flush=True)
        context.emit({"event": "error", **error_to_json(error)})
        return error.exit_code if isinstance(error, DetpressError) else ExitCode.STAGE_FAILED
    context.emit({"event": "result", "artifact": to_json(artifact)})
    return ExitCode.DONE


def _terminate(number: int, frame: object) -> None:
    # SystemExit unwinds through the stage's `finally` blocks, where checkpoints are written: another one would cut
    # that short. Whoever sends SIGTERM sends SIGKILL a little later.
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


if __name__ == "__main__":
    exit_at_once(main)
