"""The report of a run, placed where people look for it."""

from __future__ import annotations

import html
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from pipelines.runs.run import Run
from pipelines.system.files import write_text


def publish(run: Run, folder: Path) -> Path:
    """Copy the report into the run's folder and point ``artifacts/runs/latest`` at it; returns ``report.json``.

    The report may be an earlier run's, if nothing that it shows has changed since: it gets this run's id, and says from
    which run a timing was taken.
    """
    made_for = str(json.loads((folder / "report.json").read_text(encoding="utf-8"))["run_id"])
    for source in sorted(folder.iterdir()):
        target = run.info.run_dir / source.name
        if source.suffix in (".json", ".md", ".html"):
            text = source.read_text(encoding="utf-8")
            for form in (html.escape, str):
                text = text.replace(form(made_for), form(run.info.run_id))
            write_text(target, _with_origin(text, source.suffix, run.results.timed_in))
        else:
            shutil.copy2(source, target)
    point_latest(run.info.run_dir)
    return run.info.run_dir / "report.json"


def _with_origin(text: str, suffix: str, timed_in: Mapping[str, str]) -> str:
    """A report's text, with the runs that its timings were taken in."""
    if suffix == ".json":
        return json.dumps({**json.loads(text), "timed_in": dict(timed_in)}, indent=1) + "\n"
    if not timed_in:
        return text
    told = "; ".join(f"{node.partition('.')[2]} in run {earlier}" for node, earlier in timed_in.items())
    sentence = f"Timings were taken earlier, on this machine since it started: {told}."
    if suffix == ".md":
        return f"{text.rstrip()}\n\n{sentence}\n"
    return text.replace("</body>", f"<p>{html.escape(sentence)}</p>\n</body>")


def point_latest(run_dir: Path) -> None:
    """Let ``runs/latest`` name ``run_dir``, in one step, so that a reader never finds it missing."""
    link = run_dir.parent / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(run_dir.name)
    link.replace(run_dir.parent / "latest")
