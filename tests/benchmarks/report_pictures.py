"""Pictures of a run's page: ``python -m tests.benchmarks.report_pictures report.html docs/images [NAME]``.

Writes ``NAME.png``, ``NAME-dark.png`` and ``NAME-phone.png`` (``report`` by default). The page shows the run's
command, so start the run with relative paths: from the folder that holds ``data/bccd``,
``detpress compress experiment=bccd data.root=data/bccd``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import cv2

from tests import browser


@dataclass(frozen=True)
class Picture:
    """A window in pixels, and which half of the day it is."""

    width: int
    height: int
    scheme: str = "light"


PICTURES = {"": Picture(1280, 1560), "-dark": Picture(1280, 1560, "dark"), "-phone": Picture(390, 1500)}
"""What follows the name -> the window."""


def pictures(report: Path, folder: Path, name: str = "report") -> list[Path]:
    """Write the pictures into ``folder`` and return them."""
    if (reason := browser.missing()) is not None:
        raise SystemExit(f"no pictures: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []
    for suffix, one in PICTURES.items():
        with browser.page(one.width, one.height, color_scheme=one.scheme) as (page, errors):
            page.goto(report.resolve().as_uri())
            made.append(folder / f"{name}{suffix}.png")
            page.screenshot(path=made[-1])
        if errors:
            raise SystemExit(f"the page reports errors: {errors}")
        _shrink(made[-1], 2 / 3 if one.width > 1000 else 1.0)
    return made


def _shrink(path: Path, factor: float) -> None:
    picture = cv2.resize(cv2.imread(str(path)), None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    for path in pictures(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]):
        print(path)
