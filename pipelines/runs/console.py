"""What the person at the terminal sees of a run: one line a stage, one bar for what takes long.

Everything goes to standard error; standard output is for tables and for the path of the report.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from pipelines.execution.events import NullObserver, RunInfo, StageInfo
from pipelines.runs.progress import Pace
from pipelines.system.failures import shown
from stages.artifacts import Artifact
from stages.outside.text import plain, told

_LINE_EVERY_SECONDS = 20.0
"""Without a terminal (a log file, CI) a bar would print thousands of lines; a line now and then says the same, and one
with each point of a training's curve."""


class ConsoleObserver(NullObserver):
    """Prints stages as they begin, go on and end."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console(stderr=True, highlight=False, emoji=False)
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._last_line = 0.0
        self._pace = Pace()

    def run_started(self, run: RunInfo) -> None:
        rest = plain(f"{run.model} on {run.data}, {run.hardware}")
        self.console.print(f"[bold]{escape(run.run_id)}[/]  {escape(rest)}", soft_wrap=True)

    def stage_started(self, stage: StageInfo) -> None:
        self._last_line = time.monotonic()
        self._pace = Pace()
        if self.console.is_terminal:
            self._progress = Progress(
                TextColumn("  [cyan]{task.description}"),
                BarColumn(24),
                MofNCompleteColumn(),
                TextColumn("{task.fields[numbers]}"),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self._task = self._progress.add_task(stage.id, total=None, numbers="")
            self._progress.start()

    def stage_event(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        kind, message = event["event"], escape(told(str(event.get("message"))))
        if kind == "progress":
            self._show_progress(stage, event)
        elif kind == "warning":
            self.console.print(f"  [yellow]warning[/] {stage.id}: {message}", soft_wrap=True)
        elif kind == "info":
            self.console.print(f"  [dim]{stage.id}: {message}[/]", soft_wrap=True)

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        self._stop()
        how = "[dim]cached[/]" if cached else f"{seconds:.1f} s"
        self.console.print(f"  [green]✓[/] {stage.id:<28} {how}")

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        self._stop()
        self.console.print(f"  [red]✗[/] {stage.id:<28} {seconds:.1f} s")
        self.console.print(f"    [red]{escape(shown(error))}[/]", soft_wrap=True)

    def run_finished(self, status: str, summary: Mapping[str, Any], report_dir: Path | None) -> None:
        self._stop()

    def _show_progress(self, stage: StageInfo, event: Mapping[str, Any]) -> None:
        numbers = "  ".join(f"{k} {v:.4g}" for k, v in event.items() if k not in ("event", "done", "total"))
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=event["done"], total=event["total"], numbers=numbers)
        # A training says by itself how often it wants a line (log_every).
        elif "loss" in event or time.monotonic() - self._last_line >= _LINE_EVERY_SECONDS:
            self._last_line = time.monotonic()
            left = self._left(event)
            self.console.print(f"    {stage.id} {event['done']}/{event['total']}  {numbers}{left}", soft_wrap=True)

    def _left(self, event: Mapping[str, Any]) -> str:
        """What is left by the pace since the first progress, e.g. "  0:01:30 left"; nothing where it is unknown."""
        seconds = self._pace.left(event["done"], event["total"])
        return "" if seconds is None else f"  {timedelta(seconds=round(seconds))} left"

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None
