"""A bundle as a zip file, the same bytes each time."""

from __future__ import annotations

import errno
import json
import zipfile
from pathlib import Path

from pipelines.system.files import beside, write_text
from stages.artifacts import Bundle, sha256_of
from stages.errors import InputError, StoreError

_DATED = (1980, 1, 1, 0, 0, 0)  # of every file in the zip, so that the same content is the same zip


def pack(
    bundle: Bundle, artifacts: Path, run_id: str, target: Path | None = None, layout: str = ""
) -> tuple[Path, str]:
    """Write the zip and a record that keeps `detpress gc` off what the run refers to; its path and sha256."""
    name = f"{run_id}-{bundle.backend}-{bundle.precision}{f'-{layout}' if layout else ''}"
    own = artifacts / "bundles" / f"{name}.zip"
    try:
        write_zip(bundle, target or own)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        hint = "make room" if full else "name another file with out=FILE"
        kind = StoreError if full else InputError
        raise kind(f"{target or own} cannot be written ({error.strerror}); {hint}") from error
    target = target or own
    digest = sha256_of(target)
    record = artifacts / "bundles" / f"{name}.json"
    record.parent.mkdir(parents=True, exist_ok=True)
    write_text(record, json.dumps({"run_id": run_id, "file": str(target.resolve()), "sha256": digest}, indent=1))
    return target, digest


def write_zip(bundle: Bundle, target: Path) -> None:
    """Write a bundle's folder as a zip; the same content is the same zip."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with beside(target) as made, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in sorted(bundle.files):
            entry = zipfile.ZipInfo(name, _DATED)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with bundle.path(name).open("rb") as source, archive.open(entry, "w") as sink:
                while chunk := source.read(1 << 20):
                    sink.write(chunk)
