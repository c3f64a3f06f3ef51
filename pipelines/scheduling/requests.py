"""What a person asks a running scheduler for: a tick now, or the end of the retraining that runs.

A request is a file that the scheduler looks for at least once a second, so that it reaches a scheduler with any job
store, and no schedule has to be changed for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.scheduling.child import end_tree, is_running
from pipelines.scheduling.records import QUEUED, Tick
from pipelines.system.process_identity import is_gone, is_here
from stages.errors import DetpressError, InputError

_POLL_SECONDS = 0.2
_TAKE_SECONDS = 15.0
"""How long a request may lie there. A scheduler looks every second."""


def ask_to_run(folder: Path, name: str) -> None:
    """Ask the scheduler that serves the store in ``folder`` for a tick of the schedule ``name``, and wait until it
    has taken the request.

    Raises:
        DetpressError: it has not.
    """
    request = _folder(folder) / name
    request.parent.mkdir(parents=True, exist_ok=True)
    request.touch()
    if not _within(_TAKE_SECONDS, lambda: not request.exists()):
        request.unlink(missing_ok=True)
        raise DetpressError(
            f"the scheduler did not answer within {_TAKE_SECONDS:g} s; is it stopping? Otherwise start it anew with "
            "`detpress schedule serve`"
        )


def taken(folder: Path) -> list[str]:
    """The schedules that a tick is asked for; the requests are gone afterwards."""
    names = []
    for request in sorted(_folder(folder).glob("*")):
        request.unlink(missing_ok=True)
        names.append(request.name)
    return names


def stop(ticks: Sequence[Tick], grace: float) -> Tick | None:
    """End the retraining that runs, in order, so that the next one continues it; returns its tick.

    The scheduler that started it ends it (SIGTERM, and SIGKILL after ``grace`` seconds). Where that one is gone, this
    process does, and the next scheduler records the end.

    Args:
        ticks: the open ones of a schedule.

    Raises:
        InputError: it runs on another machine.
        DetpressError: it has not ended.
    """
    active = [tick for tick in ticks if tick.state != QUEUED] or list(ticks)
    if not active:
        return None
    tick = active[0]
    if not is_here(tick.owner):
        raise InputError(f"{tick.schedule} runs on {tick.owner.get('host', 'another machine')}; stop it there")
    tick.ask_to_stop()
    if is_gone(tick.owner):
        end_tree(tick.pid, tick.pid_started, grace)
        ended = not is_running(tick.pid, tick.pid_started)
    else:
        ended = _within(grace + _TAKE_SECONDS, lambda: not tick.is_open or is_gone(tick.owner))
    if not ended:
        raise DetpressError(
            f"process {tick.pid} has not ended within {grace + _TAKE_SECONDS:g} s; `detpress schedule logs "
            f"{tick.schedule}` shows what it does"
        )
    return tick


def _within(seconds: float, met: Callable[[], bool]) -> bool:
    limit = time.monotonic() + seconds
    while not met():
        if time.monotonic() > limit:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _folder(folder: Path) -> Path:
    return folder / "run-now"
