"""Results by the key of what made them: ``artifacts/store/STAGE/KEY/``.

An entry is a folder with ``entry.json`` (the artifact, the parts of its key, how long it took, where) and ``files/``.
It is written beside the store and renamed into it, so a reader sees a whole entry or none. What an interrupted stage
left behind for its own resumption lies in ``artifacts/work/STAGE-KEY/`` and goes away when the entry is complete.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pipelines.store.entries import SCHEMA, Entry, Key, Record, check, checked, parse
from pipelines.system.locks import exclusive, holder, signing, try_exclusive
from stages.artifacts import Artifact
from stages.codec import to_json
from stages.errors import StoreError
from stages.outside import names, records
from stages.outside.text import plain

A = TypeVar("A", bound=Artifact)
_TEMPORARY = re.compile(r"[a-z].*-[^-]+")
"""``STAGE-KEY-`` and what ``mkdtemp`` adds."""
_WORK = re.compile(r"[A-Za-z].*-[0-9a-f]{20}")


@dataclass(frozen=True)
class Pending:
    """A result in the making: ``folder`` is renamed into the store, ``work`` survives an interruption."""

    key: Key
    folder: Path
    out: Path
    work: Path


class Store:
    """The content-addressed results under one ``artifacts`` folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries = root / "store"
        self.works = root / "work"
        self.problems: list[str] = []
        """What went wrong without costing a result, for the run to tell; whoever tells it empties the list."""

    def prepare(self) -> None:
        """Make the folders. Raises StoreError where nothing can be written."""
        try:
            for folder in (self.entries, self.works, self.entries / ".tmp", self.entries / ".locks"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot write to {self.root}: {error.strerror}; set run.artifacts=FOLDER to one that is writable"
            ) from error

    def folder(self, key: Key) -> Path:
        return self.entries / key.stage / key.digest

    @contextmanager
    def lock(self, key: Key, wait: Callable[[str], None] | None = None, who: str = "") -> Iterator[None]:
        """Hold the key against other processes: of two that want one result, the second waits and then finds it.

        Args:
            wait: told once if it has to be waited for, with who has it since when.
            who: what others are told that they wait for, e.g. ``run RUN_ID``.
        """
        path = self.entries / ".locks" / f"{key.stage}-{key.digest}"

        def waiting() -> None:
            if wait is not None:
                wait(f"waits for {plain(holder(path))}, which computes the same")

        with path.open("a") as stream, exclusive(stream, waiting), signing(stream, who):
            yield

    @contextmanager
    def claim(self, key: Key, wait: Callable[[str], None]) -> Iterator[None]:
        """Hold the key against other machines while it is computed; what one of them made is there by then."""
        yield

    def add_reference(self, run_id: str, entries: list[str]) -> None:
        """Tell what a run refers to so far, where that is not plain from the runs' folders beside the store."""

    def find(self, key: Key) -> Entry | None:
        """The entry of ``key``, its files checked against their digests; ``None`` if there is none.

        Raises:
            StoreError: an entry is there but not whole; ``discard`` it and compute it again.
        """
        entry = self.peek(key)
        if entry is not None:
            check(entry)
        return entry

    def peek(self, key: Key) -> Entry | None:
        """The entry of ``key`` as its record has it, the files not looked at; ``None`` if there is none.

        Raises:
            StoreError: the record is missing or cannot be read.
        """
        return self._read(str(key))

    def load(self, name: str) -> Artifact:
        """The artifact of the entry ``STAGE/DIGEST``, its files checked.

        Raises:
            StoreError: it is not there (any more), or not what was stored.
        """
        entry = self._read(name)
        if entry is None:
            raise StoreError(f"{self.entries / name} is not in the store any more; run the command of the run again")
        check(entry)
        return entry.artifact

    def load_as(self, name: str, kind: type[A]) -> A:
        """`load`, of an artifact that has to be of a ``kind``. Raises StoreError, also for another kind."""
        artifact = self.load(name)
        if not isinstance(artifact, kind):
            raise StoreError(f"{self.entries / name} holds a result of the kind {type(artifact).__name__}, not "
                             f"{kind.__name__}: its record was changed; remove the folder, and run again")  # fmt: skip
        return artifact

    def _read(self, name: str) -> Entry | None:
        folder = names.inside(self.entries, names.entry(name, self.entries, "the entry"), self.entries, "the entry")
        record = folder / "entry.json"
        if not record.exists():
            if folder.exists():
                raise StoreError(f"{folder} has no entry.json")
            return None
        return parse(records.read(record, raises=StoreError), name, folder)

    def records(self, stage: str, newest: int = 200) -> list[Record]:
        """The plain records of a stage's entries, newest first, the unreadable ones left out."""
        dated: list[tuple[float, Path]] = []
        for path in (self.entries / stage).glob("*/entry.json"):
            with contextlib.suppress(OSError):  # it was collected in between
                dated.append((path.stat().st_mtime, path))
        found: list[Record] = []
        for _, path in sorted(dated, reverse=True)[:newest]:
            with contextlib.suppress(OSError, StoreError):
                record = checked(records.read(path, raises=StoreError), f"{stage}/{path.parent.name}", path)
                found.append(record)
        return found

    def discard(self, key: Key) -> None:
        """Move a broken entry out of the way."""
        grave = self._temporary(key)
        self.folder(key).rename(grave / key.digest)
        shutil.rmtree(grave, ignore_errors=True)

    def begin(self, key: Key) -> Pending:
        folder = self._temporary(key)
        out = folder / "files"
        out.mkdir()
        work = self.works / f"{key.stage}-{key.digest}"
        work.mkdir(parents=True, exist_ok=True)
        return Pending(key, folder, out, work)

    def commit(self, pending: Pending, artifact: Artifact, *, record: Mapping[str, Any]) -> Entry:
        """Write the record and move the folder into the store; from here on the result is found by its key."""
        record = {"warnings": [], "metrics": [], "seconds": 0.0, "run": "", "machine": "", **record}
        data = {
            "schema": SCHEMA,
            "key": pending.key.digest,
            "stage": pending.key.stage,
            "parts": to_json(pending.key.parts),
            "artifact": to_json(artifact),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **record,
        }
        target = self.folder(pending.key)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (pending.folder / "entry.json").open("w") as stream:
                json.dump(data, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            pending.folder.rename(target)
        except OSError as error:
            raise StoreError(f"cannot store the result of {pending.key.stage} in {target}: {error.strerror}") from error
        shutil.rmtree(pending.work, ignore_errors=True)
        artifact = dataclasses.replace(artifact, root=target / "files", key=str(pending.key))
        return Entry(
            artifact,
            float(record["seconds"]),
            list(record["warnings"]),
            list(record["metrics"]),
            str(record["run"]),
            str(record["machine"]),
        )

    def abandon(self, pending: Pending) -> None:
        """Forget an unfinished result; its ``work`` folder stays for the next try (unless nothing is in it)."""
        shutil.rmtree(pending.folder, ignore_errors=True)
        if pending.work.is_dir() and not any(pending.work.iterdir()):
            pending.work.rmdir()

    def sweep(self) -> list[Path]:
        """Remove temporary folders that a killed process left behind, and return where they were.

        Each is named after its key, whose lock its maker holds: neither age nor clock is asked.
        """
        removed: list[Path] = []
        for folder in self.temporary():
            with (self.entries / ".locks" / folder.name.rpartition("-")[0]).open("a") as stream:
                if not try_exclusive(stream):
                    continue  # a process computes it
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        return removed

    def temporary(self) -> list[Path]:
        """The folders of results in the making. What file managers and network file systems leave there is none."""
        folder = self.entries / ".tmp"
        return sorted(p for p in _folders(folder) if _TEMPORARY.fullmatch(p.name) and not p.is_symlink())

    def unfinished(self) -> list[Path]:
        """The folders of ``works`` that interrupted stages left for their resumption; others' are none of them."""
        return sorted(p for p in _folders(self.works) if _WORK.fullmatch(p.name) and not p.is_symlink())

    def names(self) -> list[str]:
        """``STAGE/DIGEST`` of every entry. What a link leads to is none: it is not served, and not ours to remove."""
        stages = [stage for stage in _folders(self.entries) if not stage.is_symlink()]
        return sorted(f"{stage.name}/{entry.name}" for stage in stages for entry in _folders(stage))

    def remove(self, key: str) -> bool:
        """Remove the entry ``STAGE/DIGEST``; ``False`` if a process holds its lock."""
        name = names.entry(key, self.entries, "the entry")
        return self._unless_locked(name.replace("/", "-"), self.entries / name)

    def remove_work(self, name: str) -> bool:
        """Remove what an interrupted stage left for its resumption (a folder of ``works``)."""
        return self._unless_locked(name, self.works / names.part(name, self.works, "the folder"))

    def _unless_locked(self, lock: str, folder: Path) -> bool:
        with (self.entries / ".locks" / lock).open("a") as stream:
            if not try_exclusive(stream):
                return False
            # Out of sight in one step, then away: a reader never sees half an entry.
            grave = Path(tempfile.mkdtemp(dir=self.entries / ".tmp", prefix=f"{lock}-"))
            folder.rename(grave / folder.name)
            shutil.rmtree(grave, ignore_errors=True)
            return True

    def _temporary(self, key: Key) -> Path:
        return Path(tempfile.mkdtemp(dir=self.entries / ".tmp", prefix=f"{key.stage}-{key.digest}-"))


def _folders(folder: Path) -> list[Path]:
    """The folders in one that are not hidden."""
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if not path.name.startswith(".") and path.is_dir()]
