"""One list of a COCO JSON file without the others, and the image files that it names.

A training set's file may have hundreds of megabytes, nearly all of it annotations, and every command asks for its
class names and its images.
"""

from __future__ import annotations

import json
import mmap
from pathlib import Path
from typing import Any

from stages.outside import files, names

LARGE = 1 << 24  # bytes; a file from this size on is not read whole for one list


def list_alone(path: Path, name: str) -> list[dict[str, Any]] | None:
    """The list behind the one key ``name`` of a large file; ``None``: read the whole file."""
    key = f'"{name}"'.encode()
    try:
        if path.stat().st_size < LARGE:
            return None
        with files.open_regular(path) as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            at = content.rfind(key)
            if at < 0 or content.rfind(key, 0, at) >= 0:
                return None
            found, window = None, LARGE
            while found is None and window < 2 * len(content):  # until the list's end is in it
                found = _list_in(content[at + len(key) : at + window].decode("utf-8", "ignore"))
                window *= 2
    except (OSError, ValueError):
        return None
    return found


def _list_in(text: str) -> list[dict[str, Any]] | None:
    """The list of objects behind a colon, if all of it is there."""
    head, colon, rest = text.partition(":")
    if not colon or head.strip():
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(rest.lstrip())
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(entry, dict) for entry in found) else None


def image_names(path: Path) -> list[str]:
    """The ``file_name`` of each image of a COCO JSON file; of one that is broken those that can be told."""
    entries: Any = list_alone(path, "images")
    if entries is None:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):  # the stage that reads the labels tells what is wrong with them
            return []
        entries = content.get("images") if isinstance(content, dict) else None
    if not isinstance(entries, list):
        return []
    found = [entry.get("file_name") for entry in entries if isinstance(entry, dict)]
    return [name for name in found if isinstance(name, str) and name]


def image_file(root: Path, name: str) -> Path:
    """The file that a ``file_name`` means: under ``root``, with \\ read as / where only that leads to one."""
    path = names.joined(root, name)
    if "\\" in name and not path.is_file():
        slashed = names.joined(root, name.replace("\\", "/"))
        return slashed if slashed.is_file() else path
    return path


def named_images(annotations: Path, root: Path) -> list[Path]:
    """The image files that a COCO JSON file names, whatever their endings and folders; some may be missing."""
    return [image_file(root, name) for name in image_names(annotations)]
