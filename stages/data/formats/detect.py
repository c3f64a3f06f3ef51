"""Which layout a folder has, by looking at names; no label and no image is read for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.data.formats import coco, voc, yolo
from stages.data.formats.source import TRAIN, VAL, Source
from stages.errors import DataError

AUTO = "auto"
CONVERTED: dict[str, Callable[[Path], Source]] = {
    "yolo": yolo.YoloSource,
    "voc": voc.VocSource,
    "roboflow": coco.RoboflowSource,
}
"""Kinds that are converted to COCO JSON, and how each is opened."""
TITLES = {
    "yolo": "YOLO",
    "voc": "Pascal VOC",
    "roboflow": "Roboflow COCO",
    "coco_folder": "a folder with COCO labels",
    "coco": "COCO 2017",
}
_DEPTH = 2  # folders that a zip may have wrapped around the layout


@dataclass(frozen=True)
class Found:
    """A layout that fits: its kind, where it starts, and the file or folder that shows it."""

    kind: str
    root: Path
    evidence: str


def candidates(root: Path) -> list[Found]:
    """Every layout that fits ``root``, or else the one folder in it."""
    here = root
    for _ in range(_DEPTH + 1):
        if found := [Found(kind, here, shown) for kind, look in _FITS.items() if (shown := look(here)) is not None]:
            return found
        inside = [p for p in here.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))]
        if len(inside) != 1:
            return []
        here = inside[0]
    return []


def find(root: Path, kind: str = AUTO) -> Found:
    """The layout of ``root``.

    Args:
        kind: one of `CONVERTED`, or ``auto`` for whichever fits.

    Raises:
        DataError: none fits, or several do.
    """
    found = candidates(root)
    if kind != AUTO:
        return next((f for f in found if f.kind == kind), Found(kind, root, ""))
    if not found:
        raise DataError(f"no data set was recognised in {root}; it may be YOLO (data.yaml, or images/ and labels/ with "
                        "classes.txt), Pascal VOC (Annotations/*.xml), Roboflow's COCO (train/_annotations.coco.json), "
                        "COCO 2017 (annotations/instances_val2017.json) or COCO's (train.json, val.json)")  # fmt: skip
    if len(found) > 1:
        fits = " and ".join(f"{TITLES[f.kind]} ({f.evidence})" for f in found)
        raise DataError(f"{root} fits {fits}; say which it is: {' or '.join(f'data={f.kind}' for f in found)}")
    return found[0]


def open_source(kind: str, root: Path, annotations: Path | None = None, images: Path | None = None) -> Source:
    """The data set, its files listed.

    Args:
        kind: one of `CONVERTED`, or a COCO kind with its one labelled folder.
        annotations: COCO JSON of ``images``, for a COCO kind.

    Raises:
        DataError: what is missing or contradictory.
    """
    if kind in CONVERTED:
        return CONVERTED[kind](root)
    assert annotations is not None and images is not None
    return coco.CocoSource(annotations, images)


def describe(source: Source, val_fraction: float | None = None) -> str:
    """One line for the user: ``YOLO, 120 training and 30 validation images under DIR``."""
    counts = {name: len(split.images) for name, split in source.splits.items()}
    if val_fraction is not None:
        text = f"{sum(counts.values())} images, {val_fraction:.0%} of them held out for validation,"
    elif counts.keys() == {TRAIN, VAL}:
        text = f"{counts[TRAIN]} training and {counts[VAL]} validation images"
    else:
        text = f"{sum(counts.values())} {'training' if TRAIN in counts else 'validation'} images"
    notes = "".join(f"; {note}" for note in source.notes)
    return f"{source.title}, {text} under {source.root}{notes}"


def _coco_folder(root: Path) -> str | None:
    names = [name for name in (TRAIN, VAL) if (root / f"{name}.json").is_file() and (root / name).is_dir()]
    return f"{names[0]}.json" if names else None


def _coco_2017(root: Path) -> str | None:
    names = [f"annotations/instances_{split}2017.json" for split in (VAL, TRAIN)]
    return next((name for name in names if (root / name).is_file()), None)


_FITS: dict[str, Callable[[Path], str | None]] = {
    "yolo": yolo.fits,
    "voc": voc.fits,
    "roboflow": coco.fits,
    "coco_folder": _coco_folder,
    "coco": _coco_2017,
}
