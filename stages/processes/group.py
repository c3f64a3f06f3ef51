"""The other processes of a distillation that several train together (``stages.distillation.group_member``), as the
first one sees them.

Commands go to them as lines of JSON through a pipe; a peer whose pipe ends, ends. What they have in common goes through
``paddle.distributed`` (``stages.paddle.compression.data_parallel``), where a process may wait for ever
for one that is gone. So the first one waits in a thread of its own and looks after the others meanwhile.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from stages.errors import StageError
from stages.processes import python
from stages.processes.children import Child
from stages.processes.pipes import receive, send

T = TypeVar("T")

_LOOK_SECONDS = 0.2  # between two looks whether all are alive
_LAST_SECONDS = 2.0  # for a broken connection to turn out as a process that ended, or the other way round


class ProcessGroup:
    """Processes of rank 1, 2, ...; rank 0 is this one.

    Args:
        requests: what each is asked for, from rank 1 on (see ``stages.distillation.group_member``).
        environments: what the environment of each has that this one's has not.
        folder: where the requests are written.
        module: what is run; it gets the request's path.
    """

    def __init__(
        self,
        requests: Sequence[Mapping[str, Any]],
        environments: Sequence[Mapping[str, str]],
        folder: Path,
        module: str = "stages.distillation.group_member",
    ) -> None:
        self.count = len(requests) + 1
        """How many processes there are with this one."""
        self._pool = ThreadPoolExecutor(1, "peers")
        self._processes: list[Child] = []
        self._answers: dict[int, dict[str, Any]] = {}
        """Rank -> its last answer; empty if it ended instead."""
        folder.mkdir(parents=True, exist_ok=True)
        for rank, (request, own) in enumerate(zip(requests, environments, strict=True), start=1):
            file = folder / f"request-{rank}.json"
            file.write_text(json.dumps(request), encoding="utf-8")
            self._processes.append(
                Child(
                    python.command(module, str(file)),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=python.environment(**own),
                    knows=True,
                )
            )

    def tell(self, command: Mapping[str, Any]) -> None:
        """Give all the same command.

        Raises:
            StageError: one of them is gone.
        """
        self.check()
        for process in self._processes:
            assert process.stdin is not None
            try:
                send(process.stdin, command)
            except OSError:
                self._await_end()
                raise

    def hear(self) -> list[dict[str, Any]]:
        """A line of JSON from each, from rank 1 on; raises as ``tell``."""
        for rank in range(1, self.count):
            self.wait_for(partial(self._listen, rank))
            if not self._answers[rank] or "error" in self._answers[rank]:
                self._await_end()
        return [self._answers[rank] for rank in range(1, self.count)]

    def check(self) -> None:
        """Raise as ``tell`` if one of them is gone."""
        for rank, process in enumerate(self._processes, start=1):
            code = process.poll()
            if code is None:
                continue
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            if code == -signal.SIGKILL:
                how += " (the usual reason is that the machine ran out of memory)"
            if "error" not in self._answers.get(rank, {}):
                self._listen(rank)
            reason = self._answers[rank].get("error")
            how += f": {reason}" if reason else "; what it printed is in this stage's log"
            raise StageError(
                f"process {rank} of the distillation (of 0 to {self.count - 1}) {how.rstrip('.')}. "
                "The same command continues from the last checkpoint."
            )

    def wait_for(self, call: Callable[[], T]) -> T:
        """The result of ``call``, which waits for the others; meanwhile this thread hears signals.

        Raises:
            StageError: one of them is gone, whether ``call`` has noticed or not, or ``call`` failed.
        """
        future = self._pool.submit(call)
        while not wait([future], timeout=_LOOK_SECONDS).done:
            if any(process.poll() is not None for process in self._processes):
                wait([future], timeout=_LAST_SECONDS)  # what has arrived from it may be all that was needed
                break
        if not future.done():
            self.check()
        try:
            return future.result()
        except (RuntimeError, ValueError, OSError, SystemError) as error:  # as which Paddle's native errors arrive
            self._await_end()
            raise StageError(f"the processes of the distillation lost each other ({error}).") from error

    def close(self) -> None:
        """End them; they have nothing to save."""
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.end()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):  # a command that it no longer read
                    pipe.close()
        self._pool.shutdown(wait=False)

    def _listen(self, rank: int) -> None:
        """Hear the next line of a process; nothing, if it has ended."""
        pipe = self._processes[rank - 1].stdout
        assert pipe is not None
        self._answers[rank] = next(receive(pipe), {})

    def _await_end(self) -> None:
        """Raise for the process behind a broken connection, which may take a moment to be gone."""
        deadline = time.monotonic() + _LAST_SECONDS
        while time.monotonic() < deadline:
            self.check()
            time.sleep(0.05)
