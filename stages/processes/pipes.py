"""How processes of a run speak with each other: one JSON object a line, through pipes that carry nothing else.

A process that is started calls `claim_stdout` and `die_with_parent` first; both ends `send` and `receive`; an error
crosses over as `error_to_json` and is raised on the other side as what `error_from_json` makes of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, NoReturn

from stages import errors
from stages.errors import DetpressError, ExitCode, StageError

PARENT = "DETPRESS_PARENT"
"""Variable with the id of the process that ends the life of one that calls `die_with_parent`; negative where the kernel
is not to be asked, since the thread that started it may end before that process does."""
AT_EXIT: list[Callable[[], object]] = []
"""What `exit_at_once` calls, in the place of ``atexit``."""


def claim_stdout() -> IO[str]:
    """Keep the real standard output for messages, and send everybody else's to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(own, "w", encoding="utf-8")


def die_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Ask Linux for a signal when the parent dies, so that no orphan keeps computing beside its successor.

    Other systems have no such signal; there and where it is not heard, ``stages.processes.reaper`` ends the orphan.
    """
    parent = os.getppid()
    started_by = int(os.environ.pop(PARENT, parent))
    if sys.platform == "linux" and started_by > 0:
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, how)
    try:
        os.kill(abs(started_by), 0)  # it may have died before we came here; a program in between may be our parent
    except ProcessLookupError:
        raise SystemExit(128 + how) from None
    if os.getppid() != parent:  # it died in between
        raise SystemExit(128 + how)


def exit_at_once(main: Callable[[], int]) -> NoReturn:
    """Run ``main`` and end the process with its exit code, without the interpreter's shutdown.

    Paddle's and ONNX Runtime's destructors have crashed there, after a stage that had finished.
    """
    code: int = ExitCode.STAGE_FAILED
    try:
        code = main()
    except SystemExit as stop:
        code = int(stop.code or 0) if not isinstance(stop.code, str) else ExitCode.STAGE_FAILED
    except Exception:
        traceback.print_exc()
    finally:
        for call in AT_EXIT:
            with contextlib.suppress(Exception):
                call()
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def send(stream: IO[str], message: Mapping[str, Any]) -> None:
    """Write one message; it is on its way when this returns.

    Raises:
        OSError: nobody reads any more (``BrokenPipeError``), or the disk is full.
    """
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def receive(stream: IO[str]) -> Iterator[dict[str, Any]]:
    """The messages of a stream, until the other side closes it; a line that its death cut off is left out."""
    for line in stream:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def error_message(error: Exception) -> str:
    """An error in words; one that is not ours is named by its type, which its text may not make sense without."""
    return str(error) if isinstance(error, DetpressError) else f"{type(error).__name__}: {error}"


def error_to_json(error: Exception) -> dict[str, Any]:
    """An error that is being handled, as ``{"type", "message", "details", "expected", "traceback"}``.

    ``message`` is all of it; ``details`` are the last lines of that, as `stages.errors.DetpressError` has them.
    """
    message = error_message(error)
    details = list(error.details) if isinstance(error, DetpressError) else message.split("\n")[1:]
    return {
        "type": type(error).__name__,
        "message": message,
        "details": details,
        "expected": isinstance(error, DetpressError),
        "traceback": traceback.format_exc(),
    }


def error_from_json(data: Mapping[str, Any]) -> DetpressError:
    """The error of another process, as an exception of its own class (a StageError, if that is not one of ours).

    It carries the other process's traceback, for ``--debug``.
    """
    cls = getattr(errors, str(data["type"]), None)
    if not (data["expected"] and isinstance(cls, type) and issubclass(cls, DetpressError)):
        cls = StageError
    error = cls.__new__(cls)  # a ConfigError is made of its problems, and all that crossed over is their text
    details = data["details"]
    DetpressError.__init__(error, str(data["message"]).removesuffix("\n".join(("", *details))), details)
    error.trace = str(data["traceback"])
    return error
