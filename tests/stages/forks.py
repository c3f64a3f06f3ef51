"""Processes that may use Paddle without loading it: forked from one that has, which starts when first asked for."""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import IO

from tests.conftest import ROOT


@functools.cache
def _server() -> socket.socket:
    """Where ``tests.stages.paddle.fork_server`` of this session takes requests."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.stages.paddle.fork_server", str(theirs.fileno())],
            cwd=ROOT,
            pass_fds=[theirs.fileno()],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
        )

    def end() -> None:
        ours.close()  # no more requests
        process.wait(60)

    atexit.register(end)
    return ours


class Forked:
    """``python -m module arguments`` as a forked process: the parts of ``subprocess.Popen`` that the tests need."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        given: str | None = None,
        stderr: IO[str],
        stdout: IO[str] | None = None,
    ) -> None:
        """Starts it, with ``given`` on standard input. Without ``stdout``, a pipe's end has that name."""
        request = {
            "module": module,
            "arguments": arguments,
            "folder": str(ROOT),
            "env": dict(os.environ if env is None else env),
        }
        told, telling = os.pipe()
        reading, writing = os.pipe() if stdout is None else (-1, os.dup(stdout.fileno()))
        self.stdout = None if stdout is not None else os.fdopen(reading, encoding="utf-8")
        with tempfile.TemporaryFile("w+") as stdin:
            stdin.write(given or "")
            stdin.seek(0)
            files = [stdin.fileno(), writing, stderr.fileno(), telling]
            try:
                socket.send_fds(_server(), [json.dumps(request).encode()], files)
            finally:
                os.close(writing)
                os.close(telling)
        self._told = os.fdopen(told)
        line = self._told.readline()
        assert line, "the process that forks others has died"
        self.pid = int(line)
        self.returncode: int | None = None

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, as Popen has it."""
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
            self.returncode = int(self._told.readline() or -signal.SIGKILL)
            self._told.close()
        return self.returncode


def run(module: str, *arguments: str, given: str | None = None, timeout: float = 600) -> str:
    """What ``python -m module arguments`` prints; an AssertionError with the end of its log if it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as log:
        process = Forked(module, *arguments, given=given, stdout=out, stderr=log)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            raise
        out.seek(0)
        log.seek(0)
        assert code == 0, log.read()[-3000:]
        return out.read()
