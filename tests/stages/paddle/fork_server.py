"""A process that has loaded Paddle once, and forks a process for each request: four seconds less than a fresh one.

``python -m tests.stages.paddle.fork_server FD``: over the socket ``FD`` comes, for each process, a JSON object
``{"module", "arguments", "folder", "env"}`` with four files: its standard input, output and error, and one that the
process id and then, on a line of its own, the exit code are written to (negative: the signal that killed it). See
``tests.stages.forks``, which is the other side.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from typing import Any

from stages.processes.pipes import die_with_parent

FILES = 4
LIMIT = 1 << 18
"""Bytes of a request; most of them are the environment."""


def load() -> None:
    """What is slow to import, and what no stage changes by importing it. Our own modules are not among it."""
    import stages.paddle  # isort: skip  # noqa: F401  (the door comes before paddle itself)
    import onnx  # noqa: F401
    import paddle.inference  # noqa: F401
    import paddle2onnx  # noqa: F401
    import paddleslim.quant  # noqa: F401


def run(request: dict[str, Any], before: dict[str, str]) -> int:
    """``python -m module arguments`` in this process; the exit code."""
    environment: dict[str, str] = request["env"]
    for name in before.keys() - environment.keys():
        os.environ.pop(name, None)
    os.environ.update(environment)  # what the door has set beside it stays
    os.chdir(request["folder"])
    sys.argv[1:] = request["arguments"]
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def watch(request: dict[str, Any], files: list[int], before: dict[str, str]) -> None:
    """Fork the process, and tell its id and how it ended. This runs in a process of its own, the other's parent."""
    die_with_parent(signal.SIGKILL)
    *standard, told = files
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_with_parent(signal.SIGKILL)
            os.close(told)
            for number, file in enumerate(standard):
                os.dup2(file, number)
                os.close(file)
            code = run(request, before)
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)  # no destructors, as at the end of the product's worker
    for file in standard:
        os.close(file)
    os.write(told, f"{child}\n".encode())
    _, status = os.waitpid(child, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())


def main(requests: socket.socket) -> None:
    before = dict(os.environ)
    load()
    while True:
        message, files, _, _ = socket.recv_fds(requests, LIMIT, FILES)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            try:
                watch(json.loads(message), files, before)
            finally:
                os._exit(0)
        for file in files:
            os.close(file)
        with contextlib.suppress(ChildProcessError):  # there is none to bury
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


if __name__ == "__main__":
    die_with_parent()
    with contextlib.suppress(KeyboardInterrupt):
        main(socket.socket(fileno=int(sys.argv[1])))
