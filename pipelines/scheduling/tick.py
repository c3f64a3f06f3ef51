"""One tick: get the lock, run ``detpress retrain``, try again where that may help, tell how it ended.

Each step is on disk before the next begins (``records.Tick``), so a scheduler that was killed anywhere in here is
replaced by one that continues from there.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.config.options.schedule import FAILED, INTERRUPTED, SKIPPED
from pipelines.retraining.journal import now
from pipelines.scheduling import records, tracking
from pipelines.scheduling.child import Child, end_tree, is_running
from pipelines.scheduling.jobs import Spec
from pipelines.scheduling.notify import notify
from pipelines.scheduling.records import QUEUED, RUNNING, STOPPED, WAITING, Tick
from pipelines.system import locks
from pipelines.system.process_identity import this_process
from pipelines.system.times import local

_POLL_SECONDS = 0.2
_AGAIN = (FAILED, INTERRUPTED)
"""Outcomes that another try may change; wrong input and a failed gate stay what they are."""
_WHOLE = tuple(code for code, outcome in records.BY_EXIT_CODE.items() if outcome not in _AGAIN)
"""Exit codes of a run that came to its end, although it was just being stopped."""
_NOT_MET = 127  # a shell's exit code for a program that is not there
_BY_HAND = "stopped with `detpress schedule stop`; the next tick continues from what it had finished"
_AWAITED: set[Path] = set()
"""Artifacts of which an outlived run is waited for: its own tick gets the lock next, before any new one."""
Say = Callable[[str], None]


class TickRunner:
    """Runs one tick of one schedule. ``stop`` ends it in order: the run is stopped, and continued after a restart."""

    def __init__(self, spec: Spec, stop: threading.Event, say: Say) -> None:
        self.spec = spec
        self.options = spec.options
        self.artifacts = Path(spec.artifacts)
        self.lock = records.lock_of(self.artifacts)
        self.stop = stop
        self.say: Say = lambda text: say(f"{spec.name}: {text}")

    def run(self) -> dict[str, Any]:
        """A new tick, from its begin to its end; returns the last line that the history got."""
        tick = Tick(self.spec.name, self.artifacts)
        held = None if self.artifacts in _AWAITED else locks.acquire(self.lock)
        if held is None:
            holder = locks.holder(self.lock)
            if self.options.overlap == "skip":
                return self._end(tick, SKIPPED, f"the retraining before it is still running: {holder}")
            self.say(f"waits for {holder}")
            tick.state = QUEUED
            tick.save()
            held = self._await_lock(tick)
            if held is None:
                return self._given_up(tick)
        return self._attempts(tick, held)

    def resume(self, tick: Tick, held: int | None) -> dict[str, Any]:
        """Continue a tick whose scheduler is gone. A run that outlived it is waited for, never doubled.

        Args:
            tick: as it was left.
            held: the lock, if it was free.
        """
        tick.owner = this_process()
        tick.save()
        if held is None:
            self.say(f"the scheduler was gone, its run was not: waits for {locks.holder(self.lock)}")
            _AWAITED.add(self.artifacts)
            try:
                held = self._await_lock(tick, first=True)
            finally:
                _AWAITED.discard(self.artifacts)
            if held is None:
                return self._given_up(tick)
        if tick.state == RUNNING and tick.attempt:
            result = records.recorded_outcome(tick, None)
            if result is not None and result["outcome"] not in _AGAIN:
                return self._final(tick, held, result)
            if tick.asked_to_stop:
                return self._final(tick, held, _stopped_by_hand(result))
            result = result or self._lost(tick)
            if tick.resumes >= self.options.resumes:
                result["reason"] = (
                    f"{result.get('reason')}; not started again (schedule.resumes={self.options.resumes})"
                )
                return self._final(tick, held, result)
            self._write(tick, {**result, "again": True})
            tick.resumes += 1
            self.say(f"{result['outcome']} while there was no scheduler; continues from what is stored")
        elif tick.state == WAITING and not self._wait_until(tick):
            return self._stopped(tick, held)
        if tick.asked_to_stop:
            return self._final(tick, held, _stopped_by_hand())
        return self._attempts(tick, held)

    def _lost(self, tick: Tick) -> dict[str, Any]:
        """A run that recorded no outcome: marked as killed, in MLflow too."""
        problem = tracking.mark_interrupted(self.artifacts, self.spec.tracking, Path(self.spec.folder))
        if problem:
            self.say(f"warning: MLflow was not told of the interruption: {problem}; the next run tells it")
        return {"outcome": INTERRUPTED, "reason": "its process was ended from outside, and so was the scheduler"}

    # --- the runs -----------------------------------------------------------------------------------------------

    def _attempts(self, tick: Tick, held: int) -> dict[str, Any]:
        tries = 0
        while True:
            tick.attempt, tick.attempt_began, tick.state = tick.attempt + 1, time.time(), RUNNING
            tick.pid = 0
            tick.save()
            result = self._one(tick, held)
            if result is None:
                return self._stopped(tick, held)
            tries += 1
            wait = min(self.options.backoff * 2 ** (tries - 1), self.options.max_backoff)
            late = self._left(tick) is not None and (self._left(tick) or 0) <= wait
            if result["outcome"] not in _AGAIN or tries > self.options.retries or late or result.get("last"):
                return self._final(tick, held, result)
            self._write(tick, {**result, "again": True})
            self.say(f"{result['outcome']}: {result.get('reason')}; tried again in {wait:g} s")
            tick.state, tick.retry_at = WAITING, time.time() + wait
            tick.save()
            locks.sign(held, f"schedule {self.spec.name} (process {os.getpid()}, between two tries)")
            if not self._wait_until(tick):
                return self._stopped(tick, held)
            if tick.asked_to_stop:
                return self._final(tick, held, _stopped_by_hand())

    def _one(self, tick: Tick, held: int) -> dict[str, Any] | None:
        """One run; how it ended, or ``None`` if the scheduler is to stop."""
        try:
            child = Child.start(self.spec.command, folder=Path(self.spec.folder), out=tick.out, log=tick.log, lock=held)
        except OSError as error:
            reason = f"cannot start {self.spec.command[0]} in {self.spec.folder}: {error.strerror or error}"
            return {"outcome": FAILED, "reason": reason, "exit_code": _NOT_MET}
        tick.pid, tick.pid_started = child.pid, child.started
        locks.sign(held, f"schedule {self.spec.name} (process {child.pid}, since {local(time.time())})")
        tick.save()
        self.say(f"started (try {tick.attempt}, process {child.pid}, log {tick.log})")
        while (code := child.poll()) is None:
            if self.stop.wait(_POLL_SECONDS):
                code = child.end(self.options.grace)
                return records.recorded_outcome(tick, code) if code in _WHOLE else None
            if tick.asked_to_stop:
                self.say("stops the retraining, as `detpress schedule stop` asks")
                code = child.end(self.options.grace)
                result = records.recorded_outcome(tick, code)
                return result if code in _WHOLE else _stopped_by_hand(result)
            left = self._left(tick)
            if left is not None and left <= 0:
                child.end(self.options.grace)
                reason = (
                    f"it was stopped at schedule.deadline={self.options.deadline:g} s; what finished is kept, "
                    "the next tick continues from there"
                )
                return {"outcome": FAILED, "reason": reason, "exit_code": child.poll(), "last": True}
        return records.recorded_outcome(tick, code)

    # --- how it ends --------------------------------------------------------------------------------------------

    def _final(self, tick: Tick, held: int, result: dict[str, Any]) -> dict[str, Any]:
        os.close(held)
        return self._end(tick, str(result["outcome"]), str(result.get("reason") or ""), result)

    def _end(self, tick: Tick, outcome: str, reason: str, result: dict[str, Any] | None = None) -> dict[str, Any]:
        line = self._write(tick, {**(result or {}), "outcome": outcome, "reason": reason})
        tick.close()
        if self.options.track and outcome != SKIPPED:
            # MLflow takes seconds to import: the next tick does not wait for that, only the scheduler's end does.
            threading.Thread(target=self._track, args=(line,), name=f"mlflow {tick.id}").start()
        records.prune_logs(self.artifacts, self.options.keep_logs)
        self.say(f"{outcome}{f': {reason}' if reason else ''}")
        for problem in notify(self.options.notify, line):  # last: it talks to others, which may take its time
            self.say(f"warning: {problem}")
        return line

    def _track(self, line: dict[str, Any]) -> None:
        if problem := tracking.track_tick(line, self.spec.tracking, Path(self.spec.folder)):
            self.say(f"warning: MLflow was not told how this tick ended: {problem}; the history has it")

    def _stopped(self, tick: Tick, held: int) -> dict[str, Any]:
        """The scheduler ends: the tick stays open, for the next one."""
        if tick.state == RUNNING:
            self._write(tick, {"outcome": INTERRUPTED, "reason": "the scheduler was stopped", "again": True})
            tick.state = STOPPED
            tick.save()
        os.close(held)
        self.say("stopped with the scheduler; continues when that is started again")
        return {"outcome": INTERRUPTED, "schedule": self.spec.name, "tick": tick.id}

    def _given_up(self, tick: Tick) -> dict[str, Any]:
        """The lock did not come free: the scheduler ends, or the deadline has passed."""
        if self.stop.is_set():
            return {"outcome": INTERRUPTED, "schedule": self.spec.name, "tick": tick.id}
        if tick.asked_to_stop:
            return self._end(tick, SKIPPED, "stopped with `detpress schedule stop` while it waited for its turn")
        return self._end(tick, SKIPPED, f"schedule.deadline passed while it waited for {locks.holder(self.lock)}")

    def _write(self, tick: Tick, result: dict[str, Any]) -> dict[str, Any]:
        names = ("outcome", "reason", "exit_code", "run_id", "version", "champion", "again")
        entry: dict[str, Any] = {
            "schedule": self.spec.name,
            "tick": tick.id,
            "attempt": tick.attempt,
            "started": _stamp(tick.attempt_began or tick.began),
            "ended": now(),
            **{name: result[name] for name in names if result.get(name) is not None},
            "log": str(tick.log) if tick.attempt else None,
        }
        return records.append(self.artifacts, entry)

    # --- waiting ------------------------------------------------------------------------------------------------

    def _left(self, tick: Tick) -> float | None:
        """Seconds until the deadline."""
        return None if self.options.deadline is None else tick.began + self.options.deadline - time.time()

    def _await_lock(self, tick: Tick, *, first: bool = False) -> int | None:
        """The lock once it is free; ``None`` if the scheduler is to stop, or the deadline passes first.

        An outlived run is held to its deadline too: it is stopped then, and its tick continues to its end.
        """
        while not self.stop.wait(_POLL_SECONDS):
            mine = first or self.artifacts not in _AWAITED
            if mine and (held := locks.acquire(self.lock)) is not None:
                return held
            left = self._left(tick)
            if tick.asked_to_stop or (left is not None and left <= 0):
                if not (tick.pid and is_running(tick.pid, tick.pid_started)):
                    return None
                end_tree(tick.pid, tick.pid_started, self.options.grace)
        return None

    def _wait_until(self, tick: Tick) -> bool:
        """Wait for its next try, or until it is asked to stop; ``False`` if the scheduler is to stop first."""
        while (left := tick.retry_at - time.time()) > 0 and not tick.asked_to_stop:
            if self.stop.wait(min(left, _POLL_SECONDS)):
                return False
        return not self.stop.is_set()


def _stopped_by_hand(result: dict[str, Any] | None = None) -> dict[str, Any]:
    """How a run ended that was stopped on request, from what it recorded itself; it is not tried again."""
    return {**(result or {}), "outcome": INTERRUPTED, "reason": _BY_HAND, "last": True}


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
