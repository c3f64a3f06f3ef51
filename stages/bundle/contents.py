"""What lies in a deployable bundle, and how one is opened: every file against its digest before anything is used.

::

    bundle.json            what it is: run, model, backend, precision, engine, thresholds, what was measured, versions
    SHA256SUMS             digest of every other file (`sha256sum -c SHA256SUMS` checks it too)
    engine/                what the backend loads, and infer_cfg.yml (preprocessing, labels, layout)
    model.onnx             the exported model, where the engine is no ONNX file itself
    paddle/                model.pdmodel, model.pdiparams, infer_cfg.yml: as PaddleDetection's deploy scripts load them
    golden/                a few images, expected.json (what the engine found in them), annotations.json (if labelled)
    labels.txt requirements.txt NOTICE.md README.md
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.artifacts import Engine, hash_files, sha256_of
from stages.codec import artifact_from_json, dataclass_from_json
from stages.errors import InputError
from stages.options.accuracy import NmsOptions

SCHEMA_VERSION = 1
RECORD, SUMS = "bundle.json", "SHA256SUMS"
ENGINE, GOLDEN, PADDLE = "engine", "golden", "paddle"
_LARGEST = 64 << 30
"""Bytes that a bundle may unpack to: beyond it, a zip is no detector but a bomb."""


@dataclass(frozen=True)
class Opened:
    """A bundle whose files are what they were when it was made."""

    root: Path
    record: Mapping[str, Any]
    engine: Engine
    nms: NmsOptions

    def golden(self) -> list[dict[str, Any]]:
        """``expected.json``: ``{"file", "detections": [...]}`` for each golden image."""
        content: list[dict[str, Any]] = json.loads((self.root / GOLDEN / "expected.json").read_text())
        return content

    def annotations(self) -> dict[str, Any] | None:
        """The COCO labels of the golden images, if they are labelled."""
        path = self.root / GOLDEN / "annotations.json"
        return json.loads(path.read_text()) if path.is_file() else None


def write_sums(root: Path) -> None:
    """Write ``SHA256SUMS`` over every file under ``root``."""
    files = {name: digest for name, digest in hash_files(root).items() if name != SUMS}
    (root / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(files.items())))


def unpack(bundle: Path, folder: Path, *, digest: str | None = None) -> Opened:
    """Unpack a bundle into the empty ``folder`` and check it.

    Args:
        digest: sha256 that the zip file has to have, if it is known from elsewhere.

    Raises:
        InputError: it is no bundle, or a file is not what it was when the bundle was made.
    """
    if not bundle.is_file():
        raise InputError(f"there is no bundle {bundle}; `detpress bundle RUN` makes one")
    if digest is not None and sha256_of(bundle) != digest.lower():
        raise InputError(f"{bundle} does not have the sha256 {digest}: refused; fetch it again from where it was made")
    try:
        with zipfile.ZipFile(bundle) as archive:
            entries = archive.infolist()
            _check_names(bundle, [entry.filename for entry in entries])
            if sum(entry.file_size for entry in entries) > _LARGEST:
                raise InputError(f"{bundle} would unpack to more than {_LARGEST >> 30} GiB: refused")
            archive.extractall(folder)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        raise InputError(f"{bundle} is no whole zip file ({error}); copy it again") from error
    return open_bundle(folder, bundle)


def open_bundle(root: Path, name: Path) -> Opened:
    """Check an unpacked bundle; ``name`` is what messages call it. Raises InputError, see `unpack`."""
    sums = root / SUMS
    if not (root / RECORD).is_file() or not sums.is_file():
        raise InputError(f"{name} is no bundle: it has no {RECORD} and {SUMS}")
    promised: dict[str, str] = {}
    for line in sums.read_text().splitlines():
        digest, _, file = line.partition("  ")
        promised[file] = digest
    have = {file: digest for file, digest in hash_files(root).items() if file != SUMS}
    wrong = sorted(file for file in {*promised, *have} if promised.get(file) != have.get(file))
    if wrong:
        raise InputError(
            f"{name} was changed after it was made: {', '.join(wrong[:4])}{' ...' if len(wrong) > 4 else ''}: refused; "
            "fetch it again from where it was made"
        )
    record = json.loads((root / RECORD).read_text())
    if record.get("schema_version") != SCHEMA_VERSION:
        raise InputError(
            f"{name} has schema {record.get('schema_version')}, this version reads {SCHEMA_VERSION}; use the version "
            f"that made it (detpress {record.get('versions', {}).get('detpress', '?')})"
        )
    engine = artifact_from_json({**record["engine"], "root": str(root / ENGINE)})
    assert isinstance(engine, Engine)
    return Opened(root, record, engine, dataclass_from_json(NmsOptions, record["nms"]))


def _check_names(bundle: Path, names: list[str]) -> None:
    for name in names:
        path = Path(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name:
            raise InputError(f"{bundle} has a file {name!r}, which would land outside of its folder: refused")
    if len(set(names)) < len(names):
        raise InputError(f"{bundle} has two files of one name: refused")
