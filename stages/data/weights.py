"""Weights by path or by URL: found, fetched once, checked, and read without running what is in them.

A download goes to ``$DETPRESS_CACHE`` (``~/.cache/detpress`` by default) under a name made of its URL. It is written
to a ``.part`` file that a later run resumes, checked, and only then renamed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import pickle
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.artifacts import sha256_of
from stages.errors import WeightsError
from stages.outside import files
from stages.outside.pickle_stack import Refused
from stages.outside.pickled_arrays import loads
from stages.outside.text import url as told
from stages.outside.text import urls

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes of the whole file (0: the server did not say)."""

LARGEST = 8 << 30
"""Bytes that a checkpoint may have."""
_CHUNK = 1 << 20
_LONGEST_MARK = 1 << 12
_TIMEOUT_S = 30.0
_PAGES = ("text/html", "application/xhtml+xml", "application/json", "application/xml", "text/xml")
"""Types of content that no checkpoint has."""


def cache_folder() -> Path:
    """Where downloads are kept.

    Raises:
        WeightsError: the user has no home folder, and the environment names none.
    """
    try:
        return Path(os.environ.get("DETPRESS_CACHE") or Path.home() / ".cache" / "detpress")
    except RuntimeError as error:
        raise WeightsError("there is no home folder to keep downloads in; set DETPRESS_CACHE=FOLDER") from error


def is_url(weights: str) -> bool:
    """Whether ``weights`` names something to fetch rather than a file."""
    return weights.startswith(("http://", "https://"))


def cached_path(url: str) -> Path:
    """Where the file behind ``url`` lies once it is fetched; put it there by hand on a machine without network."""
    name = Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "weights.pdparams"
    return cache_folder() / "weights" / hashlib.sha256(url.encode()).hexdigest()[:16] / name


def resolve_weights(weights: str, sha256: str | None = None, progress: Progress | None = None) -> Path:
    """The local file that ``weights`` (a path or an http(s) URL) stands for.

    Args:
        weights: ``model.weights``.
        sha256: expected digest in hex; checked for paths and URLs alike.
        progress: told about a download as it goes.

    Raises:
        WeightsError: no such file, a wrong digest, or a download that did not work.
    """
    if is_url(weights):
        return _fetch(weights, sha256, progress)
    path = Path(weights).expanduser()
    if not path.is_file():
        raise WeightsError(f"model.weights={urls(weights)}: there is no such file. Check the path, or give a URL.")
    if sha256 is not None and (found := sha256_of(path)) != sha256.lower():
        raise WeightsError(
            f"{path} has sha256 {found}, model.weights_sha256 says {sha256}. Get the right file, or correct the digest."
        )
    return path.resolve()


def _fetch(url: str, sha256: str | None, progress: Progress | None) -> Path:
    target = cached_path(url)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(
            f"downloads cannot be kept in {cache_folder()}: {error.strerror}; set DETPRESS_CACHE to a folder that is "
            "writable"
        ) from error
    with _locked(target.with_name(target.name + ".lock")):
        if not target.is_file():
            part = target.with_name(target.name + ".part")
            _download(url, part, target, progress)
            _require_checkpoint(part, url)
            files.put(part, target)
            _validator_file(part).unlink(missing_ok=True)
        if sha256 is not None and (found := sha256_of(target)) != sha256.lower():
            raise WeightsError(
                f"{told(url)} has sha256 {found}, model.weights_sha256 says {sha256}. Correct the digest if you trust "
                f"the source; to fetch it again, remove {target}."
            )
    return target


def _require_checkpoint(part: Path, url: str) -> None:
    """Only a checkpoint is kept: what a server sends in its place (a page that asks to log in) goes."""
    try:
        read_pdparams(part)
    except WeightsError as error:
        _forget(part)
        raise WeightsError(f"{told(url)} is no checkpoint, and was not kept: {error}") from error


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _validator_file(part).unlink(missing_ok=True)


class _Unwanted(Exception):
    """What the server sends is not taken, whatever follows."""


def _download(url: str, part: Path, target: Path, progress: Progress | None) -> None:
    """Bring ``part`` to the full length, continuing from what is there already."""
    # A part without the server's mark of its version (ETag or date) might belong to an older file: start again.
    validator = _read_validator(part)
    offset = part.stat().st_size if part.is_file() and validator else 0
    request = urllib.request.Request(url, headers={"User-Agent": "detpress"})
    if offset:
        request.add_header("Range", f"bytes={offset}-")
        request.add_header("If-Range", validator)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            _receive(response, part, offset, progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and offset:  # nothing left after what we have, or another file by now: from the start
            part.unlink()
            _download(url, part, target, progress)
            return
        raise WeightsError(
            f"{told(url)}: the server answered {error.code} {error.reason}. Check the URL, or put the file at {target}."
        ) from error
    except _Unwanted as error:
        _forget(part)
        raise WeightsError(f"{told(url)} was not fetched: {error}") from error
    except (OSError, HTTPException) as error:
        have = part.stat().st_size if part.is_file() else 0
        kept = f" {have} bytes are kept; the next run continues from there." if have else ""
        raise WeightsError(
            f"{told(url)} cannot be fetched ({urls(_reason(error))}).{kept} "
            f"On a machine without network put the file at {target}, or give its path as model.weights."
        ) from error


def _receive(response: HTTPResponse, part: Path, offset: int, progress: Progress | None) -> None:
    resumed = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
    done = offset if resumed else 0
    kind = response.headers.get_content_type()
    if kind in _PAGES:
        raise _Unwanted(f"the server sends {kind}, no checkpoint: does it ask to log in?")
    length = int(response.headers.get("Content-Length") or 0)
    if done + length > LARGEST:
        raise _Unwanted(f"it has more than the {LARGEST >> 30} GiB that a checkpoint may have")
    total = done + length if length else 0
    validator = response.headers.get("ETag") or response.headers.get("Last-Modified")
    if validator and not validator.startswith("W/"):  # a weak ETag does not promise the same bytes
        _validator_file(part).write_text(json.dumps(validator))
    else:
        _validator_file(part).unlink(missing_ok=True)
    with part.open("ab" if resumed else "wb") as stream:
        while chunk := response.read(_CHUNK):
            stream.write(chunk)
            done += len(chunk)
            if done > LARGEST:
                raise _Unwanted(f"it has more than the {LARGEST >> 30} GiB that a checkpoint may have")
            if progress is not None:
                progress(done, total)
        stream.flush()
        os.fsync(stream.fileno())
    if total and done != total:
        raise OSError(f"the connection ended after {done} of {total} bytes")


def _validator_file(part: Path) -> Path:
    return part.with_name(part.name + ".validator")


def _read_validator(part: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads(files.read_text(_validator_file(part), most=_LONGEST_MARK)))
    return ""


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    return str(reason or error or type(error).__name__)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One download of a file at a time on this machine; the others wait and find it done."""
    with path.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


# --- the file ------------------------------------------------------------------------------------------------------


def read_pdparams(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Parameter name -> array of a ``.pdparams`` file, read without running code from it.

    Raises:
        WeightsError: the file is missing, damaged, or no checkpoint.
    """
    try:
        content = loads(files.read_bytes(path, LARGEST))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: there is no such file. Check model.weights.") from error
    except (OSError, Refused) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise WeightsError(
            f"{path} cannot be read as weights ({reason}). Give a .pdparams file of PaddleDetection or detpress."
        ) from error
    arrays = {}
    if isinstance(content, Mapping):
        for name, value in content.items():
            # Paddle writes either the array or (name, array).
            array = value[1] if isinstance(value, tuple) and len(value) == 2 else value
            if isinstance(array, np.ndarray):
                arrays[str(name)] = array
    if not arrays:
        raise WeightsError(
            f"{path} holds no parameters. Give a .pdparams file, not the optimizer's or a model's program."
        )
    return arrays


def write_pdparams(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write weights in the form that ``paddle.load`` and PaddleDetection read, whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as stream:
        pickle.dump({name: np.ascontiguousarray(value) for name, value in arrays.items()}, stream, protocol=4)
        stream.flush()
        os.fsync(stream.fileno())
    files.put(temporary, path)
