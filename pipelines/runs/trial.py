"""A trial of a search over configs: one run, asked for a few numbers, and ended early once it breaks a limit.

What is asked travels as JSON behind ``--trial``, and the answer as a line on standard output, since a trial may be a
process on another machine whose files are not here. In the process of the search both are kept in this module.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pipelines.execution.node import Node
from pipelines.execution.results import Results
from pipelines.runs.remembered import require_report
from stages.artifacts import AccuracyResult, Comparison, Engine, LatencyResult
from stages.errors import DetpressError, ExitCode, InputError
from stages.numerics.variants import judged, title_of
from stages.outside import records
from stages.report import marks
from stages.report.pareto import Point, of_report
from stages.report.rows import build_rows
from stages.report.schema import Row

FLAG = "--trial"
MARK = "detpress-trial "
"""What a line of an answer begins with."""
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


class Reading(NamedTuple):
    """A number of a row with its 95 % interval; ``wrong`` says why it cannot be believed."""

    value: float | None
    bounds: list[float] | None = None
    wrong: str = ""


class Goal(NamedTuple):
    """A number that a search makes smaller (``least``), or larger."""

    title: str
    least: bool
    digits: int
    read: Callable[[Row], Reading]
    scored: bool
    """Whether it takes the accuracy on the validation set."""


def _speedup(row: Row) -> Reading:
    verdict = marks.speedup(row, "runtime")
    return Reading(row["speedup"]["runtime"], row["speedup_interval"]["runtime"], marks.why(verdict))


def _latency(row: Row) -> Reading:
    timed = row["latency"]["runtime"]
    if timed is None:
        return Reading(None)
    from stages.report.intervals import of_median

    bounds = of_median(timed)
    return Reading(timed["median_ms"], list(bounds) if bounds else None, marks.why(marks.timing(row, "runtime")))


def _drop(row: Row) -> Reading:
    change = row["difference"].get("map")
    if row["map_drop"] is None or change is None or change["low"] is None or change["high"] is None:
        return Reading(row["map_drop"])
    return Reading(row["map_drop"], [-change["high"], -change["low"]])


def _map(row: Row) -> Reading:
    return Reading(row["map"])


def _size(row: Row) -> Reading:
    return Reading(None if row["engine_bytes"] is None else row["engine_bytes"] / 1e6)


GOALS: dict[str, Goal] = {
    "speedup": Goal("Speed-up", False, 2, _speedup, False),
    "latency": Goal("Runtime, ms", True, 2, _latency, False),
    "drop": Goal("mAP drop", True, 2, _drop, True),
    "map": Goal("mAP", False, 1, _map, True),
    "size": Goal("Engine, MB", True, 1, _size, False),
}
"""``speedup`` is a ratio to FP32 on the same backend, timed in turns, so that it may be compared over machines;
``latency`` may not."""


@dataclass
class Asked:
    """What a search asks of each trial: limits by the name of a `Goal`, and whose engine is meant."""

    goals: list[str]
    limits: dict[str, float] = field(default_factory=dict)
    backend: str | None = None
    precision: str | None = None

    @property
    def flag(self) -> str:
        """On the command line of a trial."""
        return f"{FLAG}={json.dumps(dataclasses.asdict(self))}"


@dataclass
class Measured:
    """A trial's answer. ``values`` has what is known, and ``why`` the reason of a state that is not `COMPLETE`."""

    state: str
    why: str = ""
    run: str = ""
    values: dict[str, float] = field(default_factory=dict)
    bounds: dict[str, list[float] | None] = field(default_factory=dict)
    points: list[Point] = field(default_factory=list)

    @property
    def line(self) -> str:
        """The answer for another process."""
        return MARK + json.dumps(dataclasses.asdict(self))


class LimitBroken(DetpressError):
    """A limit of the search does not hold: what the run has not done yet would be for nothing."""

    exit_code = ExitCode.GATE_FAILED

    def __init__(self, message: str, run: str, values: dict[str, float]) -> None:
        super().__init__(message)
        self.run, self.values = run, values


def parse(text: str) -> Asked:
    """What stands behind the flag.

    Raises:
        InputError: it was not written by `Asked.flag`.
    """
    content = records.parse(text, FLAG, finite=True)
    asked = records.made(Asked, content, FLAG)
    if unknown := [name for name in [*asked.goals, *asked.limits] if name not in GOALS]:
        raise InputError(f"{FLAG}: there is no number {unknown[0]} (there are {', '.join(GOALS)})")
    return asked


def answer(out: str) -> Measured | None:
    """The answer among what a trial printed; ``None`` if there is none that can be read."""
    for line in reversed(out.splitlines()):
        if line.startswith(MARK):
            with contextlib.suppress(InputError):
                content = records.parse(line.removeprefix(MARK), "a trial's answer", finite=True)
                return records.made(Measured, content, "a trial's answer")
    return None


# --- in the process of the search ------------------------------------------------------------------------------------

_asked: Asked | None = None
_told: Measured | None = None


@contextlib.contextmanager
def asking(asked: Asked) -> Iterator[None]:
    """Let runs of this process be trials, for the length of a ``with``."""
    global _asked
    before, _asked = _asked, asked
    try:
        yield
    finally:
        _asked = before


def asked_here() -> Asked | None:
    """What is asked of a run that begins now."""
    return _asked


def tell(measured: Measured) -> None:
    """Keep an answer for `taken`."""
    global _told
    _told = measured


def taken() -> Measured | None:
    """The answer that was kept; it is gone then."""
    global _told
    measured, _told = _told, None
    return measured


# --- in the run ------------------------------------------------------------------------------------------------------


def cheapest_first(nodes: Sequence[Node], asked: Asked) -> list[Node]:
    """The nodes in the order in which a broken limit is seen with the least work: where one is on accuracy, timings,
    which nothing but the report needs, come last."""
    if not any(GOALS[name].scored for name in asked.limits):
        return list(nodes)
    return sorted(nodes, key=lambda node: node.timed)


class Watch:
    """Looks at what a run has after each stage."""

    def __init__(self, asked: Asked, planned: Mapping[str, Sequence[str]]) -> None:
        """``planned``: backend -> its variants, the backends in the order of the config."""
        self._asked = asked
        self._planned = planned
        self.broken = ""
        self.values: dict[str, float] = {}

    def __call__(self, results: Results) -> bool:
        """Whether a limit is broken; one that cannot be judged is not."""

        def of(kind: type) -> list[Any]:
            return [artifact for artifact in results.artifacts.values() if isinstance(artifact, kind)]

        rows = build_rows(of(Engine), of(LatencyResult), of(AccuracyResult), of(Comparison), [], "", self._planned)
        row = chosen(rows, self._asked)
        if row is not None:
            self.values = {name: one.value for name, goal in GOALS.items()
                           if (one := goal.read(row)).value is not None and not one.wrong}  # fmt: skip
            self.broken = beyond(self.values, self._asked.limits)
        return bool(self.broken)


def beyond(values: Mapping[str, float], limits: Mapping[str, float]) -> str:
    """Which limit is broken, in words; empty if none that is known."""
    for name, limit in limits.items():
        if name in values and excess(name, values[name], limit) > 0:
            goal = GOALS[name]
            side = "above" if goal.least else "below"
            return f"{goal.title} {values[name]:.{goal.digits}f} is {side} the limit {limit:g}"
    return ""


def excess(name: str, value: float, limit: float) -> float:
    """How far a value is beyond a limit, by the size of the limit; negative where it holds."""
    over = value - limit if GOALS[name].least else limit - value
    return over / (abs(limit) or 1.0)


def chosen(rows: Sequence[Row], asked: Asked) -> Row | None:
    """The row that is meant; ``None`` if there is none."""
    backend = asked.backend or (rows[0]["backend"] if rows else "")
    own = [row for row in rows if row["backend"] == backend]
    names = [row["precision"] for row in own]
    quantized = judged(names)
    precision = asked.precision or ("int8" if "int8" in names else next(iter(quantized), ""))
    return next((row for row in own if row["precision"] == precision), None)


def measure(run_dir: Path, asked: Asked) -> Measured:
    """The answer of a run that has its report."""
    report = require_report(run_dir)
    row, run = chosen(report["rows"], asked), run_dir.name
    if row is None:
        wanted = " ".join(filter(None, (asked.backend, asked.precision))) or "an engine"
        return Measured(FAILED, f"the report has no row of {wanted}", run)
    name = f"{row['backend']} {title_of(row['precision'])}"
    if row["status"] != "ok":
        return Measured(FAILED, f"{name} is {row['status']}: {(row.get('error') or '').partition(chr(10))[0]}", run)
    values, bounds, wrong = dict[str, float](), dict[str, list[float] | None](), ""
    for goal in dict.fromkeys([*asked.goals, *asked.limits]):
        reading = GOALS[goal].read(row)
        if reading.value is None or not math.isfinite(reading.value):
            needs = " (it takes a labelled validation set)" if GOALS[goal].scored else ""
            wrong = wrong or f"{name} has no {GOALS[goal].title}{needs}"
        elif reading.wrong:
            wrong = wrong or f"{GOALS[goal].title} of {name} cannot be relied on: {reading.wrong}"
        else:
            values[goal], bounds[goal] = reading.value, reading.bounds
    if wrong:
        return Measured(FAILED, wrong, run, values, bounds)
    if broken := beyond(values, asked.limits):
        return Measured(PRUNED, broken, run, values, bounds, of_report(report))
    return Measured(COMPLETE, "", run, values, bounds, of_report(report))
