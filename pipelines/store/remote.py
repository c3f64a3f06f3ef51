"""A store on object storage, shared by machines, with the local store in front of it as a cache.

``PREFIX/store/STAGE/KEY/entry.json`` is the record; the files lie beside it in a folder named by the attempt that wrote
them. The record is written last and in one request, so a reader sees a whole entry or none, and a newer attempt never
changes files that somebody reads. Whatever comes down is checked against its digests.

``PREFIX/runs/RUN_ID.json`` names the entries of a run, for ``detpress gc --store``.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from pipelines.store.entries import SCHEMA, Entry, Key, Record, check, checked, parse
from pipelines.store.leases import lease
from pipelines.store.local import Pending, Store
from stages.artifacts import Artifact, sha256_of
from stages.errors import StoreError, UnavailableError
from stages.outside import names, records
from stages.outside.text import url

_TRIES = 3
"""How often an entry that is replaced while it comes down is begun again."""


def open_store(artifacts: Path, uri: str | None) -> Store:
    """The store of ``run.artifacts``, in front of the one at ``run.store`` if there is one."""
    return RemoteStore(artifacts, uri) if uri else Store(artifacts)


class _References(TypedDict):
    """``PREFIX/runs/RUN_ID.json``."""

    entries: list[str]


class RemoteStore(Store):
    """The results at ``uri`` (anything that fsspec can open), those used here also under ``root``."""

    def __init__(self, root: Path, uri: str) -> None:
        super().__init__(root)
        self.uri, self.said = uri, url(uri)
        self._unsent = self.entries / ".unsent"
        try:
            import fsspec

            self._fs, prefix = fsspec.core.url_to_fs(uri)
        except ImportError as error:
            raise UnavailableError(f"run.store={self.said}: {error}; pip install 'detpress[s3]' for s3://") from error
        except ValueError as error:
            raise StoreError(f"run.store={self.said}: {error}; write e.g. s3://BUCKET/PREFIX") from error
        self._prefix = prefix.rstrip("/")

    def prepare(self) -> None:
        super().prepare()
        with self._reachable():
            self._fs.exists(f"{self._prefix}/store")
        for marker in sorted(self._unsent.glob("*/*")):
            with contextlib.suppress(StoreError):  # it is tried again by the next run
                self._send(f"{marker.parent.name}/{marker.name}")
                marker.unlink(missing_ok=True)

    @contextmanager
    def claim(self, key: Key, wait: Callable[[str], None]) -> Iterator[None]:
        with self._reachable():
            turn = lease(self._fs, f"{self._prefix}/leases/{key.stage}-{key.digest}", wait)
            turn.__enter__()
        try:
            yield
        finally:
            turn.__exit__(None, None, None)

    def find(self, key: Key) -> Entry | None:
        try:
            entry = self._here(key)
        except StoreError as error:
            if self._record(str(key)) is None:
                raise
            super().discard(key)
            self.problems.append(f"{error}; it was taken from {self.said} again")
            entry = None
        if entry is None and self._fetch(str(key)):
            entry = self._here(key)
        return entry

    def _here(self, key: Key) -> Entry | None:
        entry = super().peek(key)
        if entry is not None:
            check(entry)
        return entry

    def peek(self, key: Key) -> Entry | None:
        entry = super().peek(key)
        if entry is None and (record := self._record(str(key))) is not None:
            entry = parse(record, str(key), self.folder(key), f"{self.said}: the record of {key}")
        return entry

    def load(self, name: str) -> Artifact:
        if not (self.entries / names.entry(name, self.said, "the entry")).exists():
            self._fetch(name)
        return super().load(name)

    def records(self, stage: str, newest: int = 200) -> list[Record]:
        """Those of this machine first, then the others'."""
        here = super().records(stage, newest)
        known = {str(record["key"]) for record in here}
        with self._reachable():
            paths = self._fs.glob(f"{self._prefix}/store/{stage}/*/entry.json")
            wanted = [path for path in paths if path.rsplit("/", 2)[1] not in known][:newest]
            contents = self._fs.cat(wanted, on_error="omit") if wanted else {}
        there: list[Record] = []
        for path, content in sorted(contents.items()):
            with contextlib.suppress(StoreError):
                there.append(_read(content, f"{stage}/{path.rsplit('/', 2)[1]}", f"{self.said}: {path}"))
        return here + there

    def discard(self, key: Key) -> None:
        """Both copies: whichever was broken, it is computed again."""
        if self.folder(key).exists():
            super().discard(key)
        self.delete_remote(str(key))

    def commit(self, pending: Pending, artifact: Artifact, *, record: Mapping[str, Any]) -> Entry:
        entry = super().commit(pending, artifact, record=record)
        name = str(pending.key)
        try:
            self._send(name)
        except StoreError as error:
            marker = self._unsent / name
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
            self.problems.append(f"{error}; the result is kept under {self.root} and sent by the next run")
        return entry

    def delete_remote(self, name: str) -> None:
        """Remove an entry there, the record first."""
        with self._reachable(), contextlib.suppress(FileNotFoundError):
            folder = self._remote(name)
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(f"{folder}/entry.json")
            self._fs.rm(folder, recursive=True)

    def add_reference(self, run_id: str, entries: list[str]) -> None:
        try:
            with self._reachable():
                self._fs.pipe_file(f"{self._prefix}/runs/{run_id}.json", json.dumps({"entries": entries}).encode())
        except StoreError as error:
            self.problems.append(f"{error}; other machines do not know what this run refers to")

    def references(self) -> dict[str, list[str]]:
        """Run id -> what it refers to, of all machines, newest first."""
        with self._reachable():
            paths = self._fs.glob(f"{self._prefix}/runs/*.json")
            contents = self._fs.cat(paths, on_error="omit") if paths else {}
        found: dict[str, list[str]] = {}
        for path, text in contents.items():
            content: _References = records.parse(text, f"{self.said}: {path}", _References, raises=StoreError)
            found[path.rsplit("/", 1)[1].removesuffix(".json")] = content["entries"]
        return dict(sorted(found.items(), reverse=True))

    def remove_reference(self, run_id: str) -> None:
        with self._reachable(), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._prefix}/runs/{run_id}.json")

    def stored(self) -> dict[str, tuple[int, float]]:
        """``STAGE/KEY`` -> bytes and when it was last written, by the clock of the object store; entries only."""
        self._fs.invalidate_cache()
        with self._reachable():
            found = self._fs.find(f"{self._prefix}/store", detail=True)
        sizes: dict[str, tuple[int, float]] = {}
        for path, info in found.items():
            name = "/".join(path.removeprefix(f"{self._prefix}/store/").split("/")[:2])
            if not names.is_entry(name):
                continue  # somebody else's file
            size, written = sizes.get(name, (0, 0.0))
            sizes[name] = (size + int(info["size"]), max(written, _written(info)))
        return sizes

    def now(self) -> float:
        """The time by the clock of the object store."""
        path = f"{self._prefix}/leases/now-{uuid.uuid4().hex}"
        with self._reachable():
            self._fs.pipe_file(path, b"")
            info = self._fs.info(path, refresh=True) if "s3" in self._fs.protocol else self._fs.info(path)
            self._fs.rm_file(path)
        return _written(info)

    def _remote(self, name: str) -> str:
        return f"{self._prefix}/store/{name}"

    def _record(self, name: str) -> Record | None:
        """The record there; ``None`` if there is none, or one of another version."""
        name = names.entry(name, self.said, "the entry")
        try:
            with self._reachable():
                content = self._fs.cat_file(f"{self._remote(name)}/entry.json")
        except FileNotFoundError:
            return None
        said = f"{self.said}: the record of {name}"
        record = records.parse(content, said, raises=StoreError)
        return checked(record, name, said) if record.get("schema") == SCHEMA else None

    def _fetch(self, name: str) -> bool:
        """Bring an entry here, whole; ``False`` if there is none."""
        for _ in range(_TRIES):
            record = self._record(name)
            if record is None:
                return False
            folder = Path(tempfile.mkdtemp(dir=self.entries / ".tmp", prefix=f"{name.replace('/', '-')}-"))
            try:
                self._bring(name, record, folder / "entry")
                target = self.entries / name
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / "entry").rename(target)
                return True
            except FileNotFoundError:
                continue  # replaced meanwhile: its record names other files now
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"{self.said}: files of {name} are missing")

    def _bring(self, name: str, record: Record, folder: Path) -> None:
        said = f"{self.said}: the record of {name}"
        attempt = names.part(record.get("attempt"), said, "attempt")
        (folder / "files").mkdir(parents=True)
        for file, digest in parse(record, name, folder, said).artifact.files.items():
            path = names.inside(folder / "files", file, said, "artifact.files")
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._reachable():
                self._fs.get_file(f"{self._remote(name)}/{attempt}/{file}", str(path))
            if sha256_of(path) != digest:
                raise StoreError(f"{self.said}: {file} of {name} is not what was stored")
        (folder / "entry.json").write_text(json.dumps(record, indent=1))

    def _send(self, name: str) -> None:
        """Write an entry there: the files, then the record that names them, then away with earlier attempts."""
        folder, remote, attempt = self.entries / name, self._remote(name), uuid.uuid4().hex[:12]
        try:
            record = checked(records.read(folder / "entry.json", raises=StoreError), name, folder / "entry.json")
        except FileNotFoundError:
            return  # collected meanwhile
        artifact = parse(record, name, folder).artifact
        with self._reachable():
            for file in artifact.files:
                self._fs.put_file(str(artifact.path(file)), f"{remote}/{attempt}/{file}")
            self._fs.pipe_file(f"{remote}/entry.json", json.dumps({**record, "attempt": attempt}).encode())
            self._fs.invalidate_cache()
            for path in self._fs.ls(remote, detail=False):
                if path.rstrip("/").rsplit("/", 1)[1] not in (attempt, "entry.json"):
                    with contextlib.suppress(FileNotFoundError):
                        self._fs.rm(path, recursive=True)

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        """Whatever a network can raise becomes one clear error; that something is not there passes through."""
        try:
            yield
        except (FileNotFoundError, StoreError):
            raise
        except Exception as error:
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StoreError(
                f"the store {self.said} cannot be used: {reason}; check run.store, access and network"
            ) from error


def _read(content: bytes, name: str, said: str) -> Record:
    """A record of the object store as `checked`."""
    return checked(records.parse(content, said, raises=StoreError), name, said)


def _written(info: Mapping[str, Any]) -> float:
    for name in ("LastModified", "mtime", "created"):
        if (value := info.get(name)) is not None:
            return float(value.timestamp() if hasattr(value, "timestamp") else value)
    return 0.0
