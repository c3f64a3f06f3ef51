"""Wheels that travel in pieces: joined, checked, and unzipped into a folder for ``sys.path``. Needs Python alone."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

MANIFEST = "wheels.json"


def sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


def join(parts: list[Path], into: Path) -> list[str]:
    """Join and unzip every wheel that the ``parts`` (folders of the pack) have pieces of; give their names.

    Raises:
        ValueError: a piece is missing or damaged.
    """
    listed = next((p / MANIFEST for p in parts if (p / MANIFEST).is_file()), None)
    if listed is None:
        return []
    wheels = json.loads(listed.read_text())["wheels"]
    for wheel in wheels:
        whole = into / wheel["name"]
        into.mkdir(parents=True, exist_ok=True)
        with whole.open("wb") as out:
            for piece in wheel["pieces"]:
                path = next((p / piece["name"] for p in parts if (p / piece["name"]).is_file()), None)
                if path is None:
                    raise ValueError(f"{piece['name']} of {wheel['name']} is in none of the folders; bring all parts")
                if sha256(path) != piece["sha256"]:
                    raise ValueError(f"{path} is damaged; bring it again")
                out.write(path.read_bytes())
        if sha256(whole) != wheel["sha256"]:
            raise ValueError(f"{wheel['name']} is not what was packed; pack it again")
        with zipfile.ZipFile(whole) as archive:
            archive.extractall(into)
        whole.unlink()
    return [wheel["name"] for wheel in wheels]
