"""The one place that starts processes which must not outlive this one, however it ends: SIGKILL, a crash, a closed
terminal.

Each leads a session of its own, so that Ctrl-C reaches this process alone, which ends them in order. Two nets catch
what it leaves:

- The kernel tells a child that calls ``pipes.die_with_parent`` (Linux). It does so when the *thread* ends that started
  the child, so only the main thread's children ask it; and one that is blocked in native code does not hear.
- A ``stages.processes.reaper`` beside this process, started with its first child, kills the groups that are left.
  Neither threads nor the system matter to it, and what a child has started itself, such as MLflow's web server, dies
  too.

What is meant to outlive this process is started elsewhere: a scheduled retraining, the delivery to MLflow.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from stages.processes import python
from stages.processes.pipes import AT_EXIT, PARENT

_CLOSE_SECONDS = 1.0
_REAPER = str(Path(__file__).with_name("reaper.py"))


class Child(subprocess.Popen[str]):
    """A process that dies with this one. Whoever starts it waits for it, or calls `end`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str | Path | None = None,
        stdin: int | IO[Any] = subprocess.DEVNULL,
        stdout: int | IO[Any] | None = None,
        stderr: int | IO[Any] | None = None,
        knows: bool = False,
        grace: float = 1.0,
    ) -> None:
        """
        Args:
            knows: it calls ``die_with_parent``.
            grace: seconds that it has to end by itself after this process is gone.

        Raises:
            OSError: it cannot be started.
        """
        own = dict(env)
        asks = sys.platform == "linux" and threading.current_thread() is threading.main_thread()
        if knows:
            own[PARENT] = str(os.getpid() if asks else -os.getpid())
        _reaper.start()
        super().__init__(
            list(command),
            env=own,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        _reaper.add(self.pid, "knows" if knows and asks else "term", grace)

    def poll(self) -> int | None:
        code = super().poll()
        if code is not None:
            _reaper.remove(self.pid)
        return code

    def wait(self, timeout: float | None = None) -> int:
        code = super().wait(timeout)
        _reaper.remove(self.pid)
        return code

    def end(self, grace: float = 0.0) -> int:
        """End it and its group: SIGTERM, and SIGKILL after ``grace`` seconds (at once without); its exit code."""
        if grace and self.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.wait(grace)
        with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left, or (macOS) nobody alive
            os.killpg(self.pid, signal.SIGKILL)
        return self.wait()


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    given: str | None = None,
    timeout: float | None = None,
    cwd: str | Path | None = None,
    shown: bool = False,
    grace: float = 1.0,
) -> subprocess.CompletedProcess[str]:
    """What ``subprocess.run`` does, with a `Child`.

    Args:
        given: its standard input.
        shown: what it prints goes where this process prints, and is not returned.
        grace: seconds that it has to end in when this process is stopped meanwhile.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer than ``timeout`` seconds, and was ended.
    """
    kept = None if shown else subprocess.PIPE
    stdin = subprocess.DEVNULL if given is None else subprocess.PIPE
    child = Child(command, env=env, cwd=cwd, stdin=stdin, stdout=kept, stderr=kept, grace=grace)
    try:
        out, err = child.communicate(given, timeout)
        return subprocess.CompletedProcess(child.args, child.returncode, out, err)
    except subprocess.TimeoutExpired:
        child.end()
        raise
    except BaseException:
        child.end(grace)
        raise
    finally:
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it no longer read
                    pipe.close()


class _Reaper:
    """This process's end of the pipe to its reaper, and who is to be looked after."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal's handler may start or end a child
        self._left: dict[int, str] = {}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have it running."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._process = subprocess.Popen(
                    python.alone(_REAPER),
                    env=python.environment(),
                    cwd=os.sep,  # it keeps no file system busy
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    bufsize=0,  # nothing waits in a buffer, here or in a copy of this process
                    start_new_session=True,  # no terminal and no signal to our group ends it
                )
                for line in self._left.values():
                    self._tell(line)

    def add(self, pid: int, how: str, grace: float) -> None:
        with self._lock:
            self._left[pid] = f"+ {pid} {how} {grace:g}\n"
            self._tell(self._left[pid])

    def remove(self, pid: int) -> None:
        with self._lock:
            if self._left.pop(pid, None) is not None:
                self._tell(f"- {pid}\n")

    def close(self) -> None:
        """End it, with what this process leaves."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_CLOSE_SECONDS)
            process.returncode = process.returncode or 0  # no warning about one that has still to wait for others

    def forget(self) -> None:
        """In a forked copy of this process: the children are not its own."""
        process, self._process = self._process, None
        self._lock = threading.RLock()
        self._left = {}
        if process is not None and process.stdin is not None:
            process.stdin.close()
            process.returncode = 0

    def _tell(self, line: str) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):  # somebody killed it; the next child starts another
                self._process.stdin.write(line.encode())


_reaper = _Reaper()
atexit.register(_reaper.close)
AT_EXIT.append(_reaper.close)
os.register_at_fork(after_in_child=_reaper.forget)
