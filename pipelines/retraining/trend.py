"""How the detectors of past runs develop: collected from the runs of a folder, left as a page beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.retraining.journal import PROMOTED, Journal
from pipelines.runs import history
from pipelines.runs.index import Index
from pipelines.system.files import write_text
from pipelines.system.times import local
from stages.numerics.variants import title_of

if TYPE_CHECKING:
    from stages.report.trend import Point

LAST = 30
HTML, PNG = "report-trend.html", "report-trend.png"


def collect(artifacts: Path, model: str, data: str, backend: str, precision: str, last: int = LAST) -> list[Point]:
    """A point per run (see ``stages/report/trend.py``), oldest first."""
    from pipelines.runs.engines import Noises, engines, of

    crowned = {line.get("run_id") for line in Journal(artifacts).lines() if line.get("outcome") == PROMOTED}
    points: list[Point] = []
    with Index(artifacts) as index:
        noises, chosen = Noises(artifacts / "store", index), of(model, data, backend, precision)
        for folder in history.folders(artifacts):
            run = engines(folder, index, chosen)
            if run is None:
                continue
            for engine in chosen(run):
                point = noises.point(folder, engine)
                points.append({**point, "started": run["started"], "champion": folder.name in crowned})
            if len(points) == last:
                break
    return points[::-1]


def in_local_time(points: Sequence[Point]) -> list[Point]:
    """The points as people read them; `collect` leaves UTC in them, as files have it."""
    return [{**point, "started": local(point["started"])} for point in points]


def write_trend(run_dir: Path, artifacts: Path, model: str, data: str, backend: str, precision: str) -> None:
    """Write the trend into a run's folder, from where MLflow gets it."""
    from stages.report import figures, trend

    points = collect(artifacts, model, data, backend, precision)
    if not points:
        return
    points = in_local_time(points)
    title = f"{model} on {data}, {backend} {title_of(precision)}"
    write_text(run_dir / HTML, trend.page(points, title))
    figures.write_png(trend.draw(points), run_dir / PNG)
