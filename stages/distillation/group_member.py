"""One more process of a distillation, started by ``stages.processes.group``:
``python -m stages.distillation.group_member REQUEST``.

``REQUEST`` is a JSON file: ``{"rank", "processes", "model", "paths", "options", "seed", "threads", "gpu", "folder"}``.
The process makes the same student, says ``{"ready": DIGEST}``, and then does what the lines on its standard input say
(``stages.paddle.compression.data_parallel.follow``). It decides nothing and keeps nothing. If it fails, its last line
is ``{"error": MESSAGE}``; whatever it prints goes to standard error, which is the stage's log.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import traceback
from functools import partial
from pathlib import Path

from stages.errors import ExitCode
from stages.processes.pipes import claim_stdout, die_with_parent, error_message, exit_at_once, receive, send


def main(argv: list[str] | None = None) -> int:
    """Train with the others until standard input ends."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1:
        print("usage: python -m stages.distillation.group_member REQUEST", file=sys.stderr)
        return ExitCode.WRONG_INPUT
    answers = claim_stdout()
    die_with_parent(signal.SIGKILL)
    _hear_no_stop()

    try:
        request = json.loads(Path(arguments[0]).read_text(encoding="utf-8"))
        from stages.paddle.compression.data_parallel import follow

        _hear_no_stop()  # again: Paddle takes SIGTERM for itself when it is loaded
        follow(request, receive(sys.stdin), partial(send, answers))
    except Exception as error:
        with contextlib.suppress(OSError):  # the log's disk is full, or nobody listens any more
            traceback.print_exc()
            send(answers, {"error": error_message(error)})
        return ExitCode.STAGE_FAILED
    return ExitCode.DONE


def _hear_no_stop() -> None:
    """Leave stopping to the first process, which still needs the others for the step that it saves.

    Whoever stops a whole group of processes sends the signal to all of them.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    exit_at_once(main)
