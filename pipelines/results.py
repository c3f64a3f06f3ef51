"""What a call from Python returns: the report of a run and its engines, a checkpoint, the outcome of a retraining."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from pipelines.commands import bundle as bundle_command
from pipelines.runs import figure, verdict
from pipelines.runs.figure import Figure
from pipelines.runs.predictions import predictions
from pipelines.runs.remembered import read_state
from pipelines.runs.tables import WIDTH
from pipelines.system.caller import called
from stages.errors import InputError, StageError
from stages.report.conclusion import conclude
from stages.report.gates import holds
from stages.report.schema import GateVerdict, ReportContent, Row


@dataclass(frozen=True)
class EngineReport:
    """One engine of a run: a row of its report."""

    run: Path
    """The run's folder."""
    row: Row
    """As in ``report.json``, with every number."""

    @property
    def backend(self) -> str:
        return self.row["backend"]

    @property
    def precision(self) -> str:
        """The variant, e.g. ``int8``."""
        return self.row["precision"]

    @property
    def status(self) -> str:
        """``ok``, ``failed`` or ``unavailable``; ``row["error"]`` says why."""
        return self.row["status"]

    @property
    def runtime(self) -> Figure | None:
        """Milliseconds per run of the engine alone."""
        return figure.time_of(self.row, "runtime")

    @property
    def end2end(self) -> Figure | None:
        """Milliseconds per image, from pixels to boxes."""
        return figure.time_of(self.row, "end2end")

    @property
    def speedup(self) -> Figure | None:
        """Times faster than FP32 of its backend, by Runtime; ``None`` for FP32 itself."""
        return figure.speedup_of(self.row)

    @property
    def over_float(self) -> Figure | None:
        """Times faster than the fastest float engine of its backend; ``None`` for that one."""
        return figure.over_float_of(self.row)

    @property
    def map(self) -> Figure | None:
        """mAP at IoU 0.50 to 0.95, in points; ``None`` without labels. How sure it is, `map_drop` says."""
        return None if self.row["map"] is None else Figure(self.row["map"], "points")

    @property
    def map_drop(self) -> Figure | None:
        """Points of mAP lost against FP32 of its backend."""
        return figure.map_drop_of(self.row)

    @property
    def size(self) -> Figure | None:
        """Bytes of all files of the engine."""
        return None if self.row["engine_bytes"] is None else Figure(self.row["engine_bytes"], "bytes")

    def bundle(self, out: str | Path | None = None, *, golden: int = 8, layout: str = "") -> Path:
        """Pack it for another machine, as ``detpress bundle`` does; the path of the zip file.

        Args:
            out: the file (default: one in ``artifacts/bundles``).
            golden: images that prove on the other machine that it works, with what the engine finds in them.
            layout: ``triton``, ``ovms``, ``deepstream`` or ``paddle_serving``: also a folder for that server.

        Raises:
            InputError: an argument does not fit.
            StoreError: what the run left is gone, or the disk is full.
        """
        given = {"backend": self.backend, "precision": self.precision, "golden": str(golden), "layout": layout}
        with called():
            return bundle_command.make(self.run, self.run.parents[1], {**given, "out": str(out or "")})[0]

    def predict(
        self, images: Sequence[str | Path], *, threshold: float | Literal["moved"] | None = None
    ) -> list[dict[str, Any]]:
        """Detections of images, from the engine's bundle, which is packed first (see `pipelines.api.predict`)."""
        with called():
            return list(predictions(self.bundle(), [Path(image) for image in images], None, threshold))

    def __str__(self) -> str:
        numbers = {"Runtime": self.runtime, "over FP32": self.speedup, "mAP": self.map, "lost mAP": self.map_drop}
        facts = [f"{name} {number}" for name, number in numbers.items() if number is not None]
        return f"{self.backend} {self.precision}: {', '.join(facts) or self.status}"


@dataclass(frozen=True)
class Report:
    """A compression's report. ``str(report)`` is what the command line prints of it."""

    path: Path
    """``report.json``; ``report.html`` lies beside it."""
    content: ReportContent = field(repr=False)
    exit_code: int
    """What the command line ends with: 0, or 3 if a gate failed, is undecided or could not be judged."""
    notes: Sequence[str] = field(default=(), repr=False)
    """What the command line would have told on standard error beside the stages: warnings, for example."""

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(map(holds, self.gates))

    @property
    def gates(self) -> Sequence[GateVerdict]:
        """Each gate with its verdict: ``pass``, ``fail``, ``undecided``, ``not judged`` or ``left out``."""
        return self.content.get("gates") or []

    @property
    def engines(self) -> list[EngineReport]:
        """Every backend and variant, whatever became of it."""
        return [EngineReport(self.path.parent, row) for row in self.content["rows"]]

    def engine(self, backend: str, precision: str = "int8") -> EngineReport:
        """The engine of a backend and variant. Raises InputError if the run has none."""
        for one in self.engines:
            if (one.backend, one.precision) == (backend, precision):
                return one
        there = ", ".join(f"{one.backend} {one.precision}" for one in self.engines)
        raise InputError(f"the run has no engine {backend} {precision}; it has {there or 'none'}")

    def best(self) -> EngineReport:
        """The engine to use: the fastest whose loss of mAP and whose agreement hold, as the run's verdict names it.

        Raises:
            StageError: no engine is fit to be used.
        """
        found = conclude(self.content)
        if found.row is None:
            raise StageError(f"{found.headline}. {found.why}")
        return EngineReport(self.path.parent, found.row)

    def __str__(self) -> str:
        seconds = (read_state(self.path.parent) or {}).get("seconds", 0.0)
        console = Console(
            file=io.StringIO(), width=WIDTH, highlight=False, markup=False, emoji=False, force_jupyter=False
        )
        verdict.print_verdict(self.content, self.path.parent, seconds, console, following=False)
        assert isinstance(console.file, io.StringIO)
        return console.file.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        """For notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"


@dataclass(frozen=True)
class Trained:
    """A training's result."""

    checkpoint: Path
    """The FP32 weights, for ``model.weights=``."""
    notes: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True)
class Retrained:
    """The outcome of a retraining, see `pipelines.retraining.journal`."""

    path: Path
    """``artifacts/retrain/last.json``."""
    outcome: str
    """``promoted``, ``kept`` or ``unchanged``."""
    reason: str
    exit_code: int
    """What the command line ends with: 0, 3 if a gate kept the champion, 5 if nothing changed."""
    record: Mapping[str, Any] = field(repr=False)
    """All of ``last.json``: run_id, version, champion, changes, failed_gates, ..."""
    notes: Sequence[str] = field(default=(), repr=False)
