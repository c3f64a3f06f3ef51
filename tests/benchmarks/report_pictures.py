"""Pictures of a run's page: ``python -m tests.benchmarks.report_pictures report.html docs/images``.

The page shows the run's command, so start the run with relative paths: from the folder that holds ``data/bccd``,
``detpress compress experiment=bccd data.root=data/bccd``.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests import browser

PICTURES = {"report": (960, 1425), "report-phone": (390, 1500)}
"""File name -> width and height of the window, in pixels."""


def pictures(report: Path, folder: Path) -> list[Path]:
    """Write the pictures into ``folder`` and return them."""
    if (reason := browser.missing()) is not None:
        raise SystemExit(f"no pictures: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for name, (width, height) in PICTURES.items():
        with browser.page(width, height) as (page, errors):
            page.goto(report.resolve().as_uri())
            made.append(folder / f"{name}.png")
            page.screenshot(path=made[-1])
        if errors:
            raise SystemExit(f"the page reports errors: {errors}")
    return made


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    for path in pictures(Path(sys.argv[1]), Path(sys.argv[2])):
        print(path)
