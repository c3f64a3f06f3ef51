"""What the person at the terminal sees of a run: a line a stage, a bar for what takes long, how much is left.

Everything goes to standard error; standard output is for the outcome and for the path of the report. Details (what
stages say of graphs, each point of a training's curve, each stage that was cached) are kept in ``logs/all.log`` of the
run's folder, and are shown here with ``--verbose``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from pipelines.execution.events import NullObserver, PlannedStage, RunInfo, StageInfo
from pipelines.runs.plan_words import planned_line, run_left
from pipelines.runs.progress import Pace
from pipelines.system.failures import shown
from pipelines.system.output import Lossy, verbose
from pipelines.system.times import span
from stages.artifacts import Artifact
from stages.outside.text import plain, told

_LINE_EVERY_SECONDS = 60.0
_LINE_AT_LEAST_EVERY = 600.0
"""Without a terminal (a log file, CI) a bar would print thousands of lines: the first line of progress comes after
a minute, and each waits a minute longer than the one before, up to ten, whichever stage it is of."""
LONG_SECONDS = 120.0
"""A stage that is likely to take longer is announced."""
LOG = "all.log"
_WIDE = 110
"""Columns of a terminal that has room for the numbers of a stage (loss, images per second) beside the times."""


class ConsoleObserver(NullObserver):
    """Prints stages as they begin, continue and end."""

    def __init__(self, console: Console | None = None, *, details: bool | None = None) -> None:
        """
        Args:
            details: show them too; by default as ``--verbose`` says.
        """
        super().__init__()
        self.console = console or Console(stderr=True, highlight=False, emoji=False)
        self._details = verbose() if details is None else details
        self._plan: dict[str, PlannedStage] = {}
        self._number = 0
        self._cached = 0
        """Stages that were, and are not told of yet."""
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._began, self._last_line, self._lines, self._warned = 0.0, 0.0, 0, 0
        """Of the stage that runs: since when, its last line, how many warnings; `_lines` are the whole run's."""
        self._pace = Pace()

    # --- what the run tells -----------------------------------------------------------------------------------------

    def run_started(self, run: RunInfo) -> None:
        rest = plain(f"{run.model} on {run.data}, {run.hardware}")
        self.console.print(f"[bold]{escape(run.run_id)}[/]  {escape(rest)}", soft_wrap=True)

    def planned(self, stages: Sequence[PlannedStage]) -> None:
        self._plan |= {stage.id: stage for stage in stages}
        for line in planned_line(stages):
            self._line(f"  {line}")

    def stage_started(self, stage: StageInfo) -> None:
        self._number += 1
        self._began = self._last_line = time.monotonic()
        self._warned = 0
        self._pace = Pace()
        planned = self._plan.get(stage.id)
        if planned is not None and planned.cached:
            return
        long = planned is not None and planned.seconds is not None and planned.seconds >= LONG_SECONDS
        expected = f"about {span(planned.seconds)}" if long and planned and planned.seconds else ""
        if self.console.is_terminal:
            self._told_of_cached()
            self._progress = Progress(
                TextColumn("  {task.fields[number]} [cyan]{task.description}"),
                BarColumn(16 if self.console.width >= _WIDE else 8),
                TextColumn("{task.fields[done]}"),
                TimeElapsedColumn(),
                TextColumn("{task.fields[left]}"),
                TextColumn("[dim]{task.fields[numbers]}"),
                console=self.console,
                transient=True,
            )
            more: Any = {"number": self._count(), "done": "", "left": expected, "numbers": ""}
            self._task = self._progress.add_task(stage.id, total=None, **more)
            self._progress.start()
        elif expected:
            self._line(f"  {self._count()} {stage.id} begins: {expected}")

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        kind, message = event["event"], escape(told(str(event.get("message"))))
        if kind == "progress":
            self._show_progress(stage, event)
        elif kind == "warning":
            self._warned += 1
            if self._warned == 1 or self._details:
                self._line(f"  [yellow]warning[/] {stage.id}: {message}")
        elif kind == "info" and (self._details or not event.get("detail")):
            self._line(f"  [dim]{stage.id}: {message}[/]")

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        self._stop()
        if cached and not self._details:
            self._cached += 1
            if self._warned > 1:
                self._line(f"  {stage.id}:{self._rest_of_warnings()}")
        else:
            how = "[dim]cached[/]" if cached else f"{seconds:.1f} s" if seconds < 120 else span(seconds)
            self._line(f"  [green]✓[/] {self._count()} {stage.id:<28} {how}{self._rest_of_warnings()}")

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        self._stop()
        self._line(f"  [red]✗[/] {self._count()} {stage.id:<28} {seconds:.1f} s{self._rest_of_warnings()}")
        self._line(f"    [red]{escape(shown(error))}[/]")

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        self._stop()
        self._told_of_cached()

    # --- lines --------------------------------------------------------------------------------------------------------

    def _line(self, text: str) -> None:
        self._told_of_cached()
        self.console.print(text, soft_wrap=True)

    def _told_of_cached(self) -> None:
        if self._cached:
            many, self._cached = self._cached, 0
            stages = "1 stage" if many == 1 else f"{many} stages"
            self.console.print(f"  [green]✓[/] {stages} [dim]cached[/]", soft_wrap=True)

    def _count(self) -> str:
        """Which stage it is of how many, as wide for the first as for the last."""
        total = max(len(self._plan), self._number)
        return f"{self._number:>{len(str(total))}}/{total}"

    def _rest_of_warnings(self) -> str:
        """Where those are that were not shown."""
        more, self._warned = self._warned - 1, 0
        if more < 1 or self._details:
            return ""
        return f"  [yellow]{more} more warning{'' if more == 1 else 's'} in logs/{LOG}[/]"

    def _show_progress(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        numbers = "  ".join(f"{k} {v:.4g}" for k, v in event.items() if k not in ("event", "done", "total"))
        now, left = time.monotonic(), self._pace.left(event["done"], event["total"])
        if self._progress is not None and self._task is not None:
            self._progress.update(
                self._task,
                completed=event["done"],
                total=event["total"],
                done=f"{event['done']}/{event['total']}",
                left=self._left(stage, left),
                numbers=numbers if self.console.width >= _WIDE else "",
            )
            return
        wait = min(_LINE_AT_LEAST_EVERY, _LINE_EVERY_SECONDS * (self._lines + 1))
        if now - self._last_line >= wait or (self._details and "loss" in event):  # its log_every says how often
            self._last_line, self._lines = now, self._lines + 1
            times = ", ".join(t for t in (f"{span(now - self._began)} so far", self._left(stage, left)) if t)
            parts = [f"    {stage.id} {event['done']}/{event['total']}", numbers, times]
            self._line("  ".join(part for part in parts if part))

    def _left(self, stage: StageInfo, seconds: float | None) -> str:
        """What is left of the stage by its own rate, and of the run; nothing where it is unknown."""
        if seconds is None:
            return ""
        return f"{span(seconds)} left{run_left(self._plan, stage.id, seconds)}"

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None


class LogObserver(ConsoleObserver):
    """The same with all details, into ``logs/all.log`` of the run's folder."""

    def __init__(self) -> None:
        super().__init__(details=True)
        self._file: Lossy | None = None

    def run_started(self, run: RunInfo) -> None:
        path = run.run_dir / "logs" / LOG
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = Lossy(path.open("a", encoding="utf-8", buffering=1))  # a full disk is told elsewhere
        self.console = Console(file=self._file, width=200, no_color=True, highlight=False, emoji=False)  # type: ignore[arg-type]
        super().run_started(run)

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        super().run_finished(status, summary, report_dir)
        self.console.print(status)

    def close(self) -> None:
        """Close the file; a run that nobody finished has one too."""
        if self._file is not None:
            self._file.close()
            self._file = None
