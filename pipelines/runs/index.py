"""What a list of runs, a trend and a Pareto page need of each run, kept beside the runs so that thousands are not read
again: ``artifacts/.runs-index.jsonl``.

It is a cache and nothing else: what the runs' folders state wins. A record holds only for the files that it was made
of: times of the last write and of the last change of name or rights, and size, of `FILES`. A run that is gone loses its
record, one in progress gets none. An index that is missing, damaged, of another version or that cannot be written
changes how long a command takes, never what it says, so nothing is told of it.

The first line is ``{"format", "code", "sha256"}``: the digest of the code that makes records, and of all that follows;
then a JSON list a run: its name, its stamps, kind of record -> record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from pipelines.runs.remembered import REPORT, RUN
from pipelines.system.locks import try_exclusive
from stages.outside import files, records

NAME = ".runs-index.jsonl"
FORMAT = 1
FILES = (RUN, REPORT, "promotion.json")
"""What records are made of, in a run's folder."""
MOST_BYTES = 256 << 20
SETTLED = 2 * 10**9
"""Nanoseconds after its last change from which a file's times tell of the next one: file systems count in steps."""
_CODE = ("pipelines/runs", "stages/report", "stages/detection", "stages/numerics", "stages/outside")

Stamp = list[int]
"""Of a file: nanoseconds of its last write and of its last change of any kind, and bytes; empty if there is none."""


class Made(NamedTuple):
    """A record, as JSON has it, and whether it may be kept: not of what is in progress or could not be read."""

    content: Any
    final: bool


class _Known(NamedTuple):
    stamps: list[Stamp]
    kinds: dict[str, Any]


class Index:
    """The records of the runs of a folder, read from its file at the first need and written when the ``with`` ends."""

    def __init__(self, artifacts: Path) -> None:
        self._artifacts = artifacts
        self._file = artifacts / NAME
        self._stamps: dict[str, list[Stamp]] = {}
        self._new = False
        self._known: dict[str, _Known] | None = None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Also after an interruption: what was read until then need not be read again."""
        if self._new:
            with contextlib.suppress(OSError):
                self._write()

    def get(
        self,
        folder: Path,
        kind: str,
        shape: Any,
        make: Callable[[Path], Made],
        holds: Callable[[Any], bool] = lambda content: True,
    ) -> Any:
        """The record of a run, made from its folder if none is known that still holds.

        Args:
            folder: of a run of these artifacts.
            shape: what the record has to be (see `stages/outside/records.py`).
            holds: whether a known record does, where it was made of more than `FILES`.
        """
        if self._known is None:
            self._known = _read(self._file)
        if folder.parent != self._artifacts / "runs":  # a copy elsewhere: not ours to keep
            return make(folder).content
        name = folder.name
        if name not in self._stamps:
            self._stamps[name] = [stamp(os.path.join(folder, file)) for file in FILES]  # noqa: PTH118
        stamps, known = self._stamps[name], self._known.get(name)
        if known is not None and known.stamps == stamps and kind in known.kinds:
            with contextlib.suppress(ValueError, TypeError):  # not by us, or by a version that said it was this
                records.conform(known.kinds[kind], shape)
                if holds(known.kinds[kind]):
                    return known.kinds[kind]
        before = time.time_ns()
        made = make(folder)
        if made.final and all(is_settled(one, before) for one in stamps):
            if known is None or known.stamps != stamps:
                known = self._known[name] = _Known(stamps, {})
            known.kinds[kind] = made.content
            self._new = True
        return made.content

    def _write(self) -> None:
        """Let the file be whole or as before; whoever writes at the same time is left to it."""
        there = set(os.listdir(self._artifacts / "runs"))  # noqa: PTH208
        ours = {name: known for name, known in (self._known or {}).items() if name in there}
        for name, known in _read(self._file).items():  # what another process has added meanwhile
            if name in ours and ours[name].stamps == known.stamps:
                ours[name] = _Known(known.stamps, known.kinds | ours[name].kinds)
            elif name in there:
                ours.setdefault(name, known)
        body = b"".join(json.dumps([name, *known], separators=(",", ":")).encode() + b"\n"
                        for name, known in sorted(ours.items()))  # fmt: skip
        head = {"format": FORMAT, "code": code(), "sha256": hashlib.sha256(body).hexdigest()}
        content = json.dumps(head).encode() + b"\n" + body
        if len(content) <= MOST_BYTES:
            _replace(self._file, content)


def stamp(path: str | Path) -> Stamp:
    """What a file's folder entry says of it; a link is followed."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return []
    return [found.st_mtime_ns, found.st_ctime_ns, found.st_size]


def is_settled(one: Stamp, now: int) -> bool:
    """Whether a change after ``now``, nanoseconds, shows in the stamp."""
    return not one or one[1] + SETTLED < now


@cache
def code() -> str:
    """The digest of the code that records come from: another version of it makes others."""
    root, digest = Path(__file__).resolve().parents[2], hashlib.sha256()
    for folder in _CODE:
        for path in sorted((root / folder).glob("*.py")):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _read(file: Path) -> dict[str, _Known]:
    """What the file says; nothing if it is not there, not whole, or of other code."""
    try:
        first, _, body = files.read_bytes(file, MOST_BYTES).partition(b"\n")
        head = json.loads(first) if len(first) < 1000 else None
        wanted = {"format": FORMAT, "code": code(), "sha256": hashlib.sha256(body).hexdigest()}
        return dict(_parsed(body)) if head == wanted else {}
    except (OSError, ValueError, RecursionError):
        return {}


def _parsed(body: bytes) -> Iterator[tuple[str, _Known]]:
    """Raises ValueError where a line is no record."""
    for line in body.splitlines():
        match json.loads(line):
            case [str(name), list(stamps), dict(kinds)]:
                yield name, _Known(stamps, kinds)
            case _:
                raise ValueError("no record")


def _replace(file: Path, content: bytes) -> None:
    """Write beside the file and rename, alone: the lock is on the new file itself, so nothing else is left behind."""
    new = file.with_name(f"{NAME}.new")
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    with os.fdopen(descriptor, "wb") as stream:
        if not try_exclusive(stream) or not os.path.samestat(os.fstat(descriptor), new.lstat()):
            return  # another process writes, or has just done so: its file is the index by now
        stream.truncate()
        try:
            stream.write(content)
            stream.flush()
            files.put(new, file)
        except OSError:  # a full disk
            new.unlink(missing_ok=True)
            raise
