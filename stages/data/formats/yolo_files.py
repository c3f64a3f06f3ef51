"""The files of a YOLO data set: where images and labels are, whoever wrote the paths, on whichever machine."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from stages.data.formats.source import Cases, lines_of
from stages.outside.names import joined


def label_of(image: Path) -> Path | None:
    """The label file of an image: in ``labels`` where the image is in ``images``, else beside it."""
    return next((path for path in wanted_labels(image) if path.is_file()), None)


def wanted_labels(image: Path) -> list[Path]:
    """Where an image's labels may be, best first."""
    found: list[Path] = []
    parts = image.parts
    at = next((i for i in range(len(parts) - 2, -1, -1) if parts[i].lower() == "images"), None)
    if at is not None:
        # The folder keeps its letters' case: Images goes with Labels.
        name = {"images": "labels", "IMAGES": "LABELS"}.get(parts[at], "Labels")
        for folder in dict.fromkeys((name, "labels")):
            beside = Path(*parts[:at], folder, *parts[at + 1 :])
            found += [beside.with_suffix(".txt"), beside.with_suffix(".TXT")]
    return [*found, image.with_suffix(".txt"), image.with_suffix(".TXT")]


def locate(value: str, folder: Path, base: str = "") -> Path | None:
    """A path of data.yaml on this machine: as it is written, or relocated by looking below the file's folder.

    Args:
        value: as written: relative or absolute, with / or \\.
        folder: the folder of data.yaml.
        base: the file's ``path``, which relative values are under.

    Raises:
        DataError: no file can be called so.
    """
    slashed, prefix = value.replace("\\", "/"), base.replace("\\", "/")
    relative = PurePosixPath(slashed)
    elsewhere = ".." in relative.parts or slashed[1:2] == ":"  # a drive's letter
    inside = [part for part in relative.parts if part not in ("..", ".", "/") and not part.endswith(":")]
    as_written = [*([joined(joined(folder, prefix), slashed)] if prefix else []), joined(folder, slashed)]
    candidates = [Path(value)] if Path(value).is_absolute() else []
    candidates += [] if elsewhere else as_written
    # Behind `..`, or on another machine: the longest end of the path that is there below the folder.
    candidates += [folder.joinpath(*inside[start:]) for start in range(len(inside))]
    candidates += as_written if elsewhere else []
    # Not resolved: labels lie beside a link, not beside what it points at.
    return next((Path(os.path.normpath(path)) for path in candidates if path.exists()), None)


def listed_images(path: Path, folder: Path) -> list[Path]:
    """The images that a text file lists, one a line, relative to the file or to the data set."""
    found, cases = [], Cases(folder)
    for number, text in lines_of(path):
        place = locate(text, path.parent) or locate(text, folder)
        if place is None or not place.is_file():
            cases.add(path, f"there is no image {text}", number)
        else:
            found.append(place)
    cases.stop()
    return found


def visible(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        return []
    return [p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".") and p.is_file()]


def common_folder(folders: list[Path]) -> Path:
    """The deepest folder that all are in."""
    shared = folders[0]
    while not all(folder.is_relative_to(shared) for folder in folders):
        shared = shared.parent
    return shared
