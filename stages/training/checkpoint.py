"""Arrays and a few plain values in one file, written so that a kill leaves the old file or the new one."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.outside.files import put

Array = npt.NDArray[Any]

_META = "__meta__"


def write_archive(path: Path, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write beside the old file, then put it in its place."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as stream:
        np.savez(stream, **{_META: np.array(json.dumps(meta))}, **arrays)
        stream.flush()
        os.fsync(stream.fileno())
    put(temporary, path)


def read_archive(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, plain values).

    Raises:
        OSError, ValueError, KeyError: there is no such file, or it is damaged.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as content:
            meta: dict[str, Any] = json.loads(str(content[_META]))
            return {name: content[name] for name in content.files if name != _META}, meta
    except (zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path.name} is damaged: {error}") from error
