"""A report, published: rendered into the run's folder under the run's own name."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from pipelines.execution import ids
from pipelines.execution.runner import Results
from pipelines.runs.run import Run
from pipelines.system.files import write_text
from stages.artifacts import ImageList, LabeledSet
from stages.report.report import load, render
from stages.report.schema import ImageSet, StageTime


def publish(run: Run, folder: Path) -> Path:
    """Render the report into the run's folder and point ``artifacts/runs/latest`` at it; returns ``report.json``.

    Args:
        folder: of the report stage. The report may be an earlier run's, if nothing that it shows has changed since: it
            gets this run's id and command, and says from which run a timing was taken.
    """
    report = load(folder)
    report["run_id"], report["command"] = run.info.run_id, run.info.command
    report["timed_in"] = dict(run.results.timed_in)
    report["stages"] = _durations(run.results)
    report["images"] = _images(run.results)
    for name, text in render(report, folder).items():
        write_text(run.info.run_dir / name, text)
    for figure in sorted(folder.glob("report-*.png")):
        shutil.copy2(figure, run.info.run_dir / figure.name)
    point_latest(run.info.run_dir)
    return run.info.run_dir / "report.json"


def _durations(results: Results) -> list[StageTime]:
    """How long each stage's computation took, in this run or, of what came from the store, in the one that made it."""
    return [
        {"stage": name, "seconds": round(results.computed.get(name, seconds), 3), "cached": name in results.cached}
        for name, seconds in results.seconds.items()
        if name in results.artifacts
    ]


def _images(results: Results) -> list[ImageSet]:
    """The sets of images that were collected."""
    found: list[ImageSet] = []
    for name, artifact in results.artifacts.items():
        if isinstance(artifact, LabeledSet):
            found.append({"name": ids.set_name(name), "images": artifact.images, "boxes": artifact.boxes})
        elif isinstance(artifact, ImageList):
            found.append({"name": ids.set_name(name), "images": artifact.count, "boxes": None})
    return found


def point_latest(run_dir: Path) -> None:
    """Let ``runs/latest`` name ``run_dir``, in one step, so that a reader never finds it missing."""
    link = run_dir.parent / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(run_dir.name)
    link.replace(run_dir.parent / "latest")
