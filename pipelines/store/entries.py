"""Keys, and the records ``entry.json`` of the results that lie under them: read, and checked against key and files."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from stages.artifacts import Artifact, digest_of, sha256_of
from stages.codec import artifact_from_json, to_json
from stages.errors import StoreError
from stages.outside import names, records

if TYPE_CHECKING:
    from typing_extensions import NotRequired

SCHEMA = 1
_KEY_LENGTH = 20  # hex digits of a folder's name: 80 bits


@dataclass(frozen=True)
class Key:
    """What a result depends on, part by part, and the digest of it all."""

    stage: str
    parts: Mapping[str, Any]

    @property
    def digest(self) -> str:
        return digest_of(to_json(self.parts))[:_KEY_LENGTH]

    def __str__(self) -> str:
        return f"{self.stage}/{self.digest}"


class Record(TypedDict):
    """``entry.json``."""

    schema: int
    key: str
    stage: str
    parts: dict[str, Any]
    artifact: dict[str, Any]
    seconds: float
    warnings: list[str]
    metrics: list[list[Any]]
    run: NotRequired[str]
    machine: NotRequired[str]
    node: NotRequired[str]
    work: NotRequired[dict[str, Any] | None]
    """See `pipelines/execution/work.py`; absent from records of earlier versions."""
    provenance: NotRequired[dict[str, Any]]
    attempt: NotRequired[str]
    """On object storage: the folder of the files."""


@dataclass(frozen=True)
class Entry:
    """A finished result."""

    artifact: Artifact
    seconds: float
    warnings: list[str] = field(default_factory=list)
    metrics: list[list[Any]] = field(default_factory=list)  # [name, value, step] as the stage reported them
    run: str = ""
    """Id of the run that computed it."""
    machine: str = ""
    """What it was computed on, until that restarts (see ``provenance.machine``)."""


def checked(data: Mapping[str, Any], name: str, file: object) -> Record:
    """What was read as a record, if it is one of the entry ``STAGE/KEY`` and names the parts that this key is made of.

    Raises:
        StoreError: it is of another version, no record, or of another entry.
    """
    if (schema := data.get("schema")) != SCHEMA:
        raise StoreError(f"{file} has schema {names.shown(schema)}, this version reads {SCHEMA}")
    try:
        records.conform(data, Record)
    except ValueError as error:
        raise StoreError(f"{file} cannot be read: {error}") from error
    record: Record = data  # type: ignore[assignment]
    if name != f"{record['stage']}/{record['key']}":
        own = names.shown(f"{record['stage']}/{record['key']}")
        raise StoreError(f"{file} is the record of {own}, and lies in the folder of {name}: it was moved")
    if Key(record["stage"], record["parts"]).digest != record["key"]:
        raise StoreError(f"{file}: its parts are not those that its key {record['key']} was made of")
    return record


def parse(data: Mapping[str, Any], name: str, folder: Path, said: object = None) -> Entry:
    """A record as an entry of ``folder``. The store may have been moved: where it was then does not matter.

    Args:
        said: what messages call the record; by default its path under ``folder``.

    Raises:
        StoreError: as of `checked`.
    """
    said = said or folder / "entry.json"
    record = checked(data, name, said)
    try:
        artifact = artifact_from_json(record["artifact"])
    except StoreError as error:
        raise StoreError(f"{said} cannot be read: {error}") from error
    return Entry(
        dataclasses.replace(artifact, root=folder / "files", key=name),
        record["seconds"],
        record["warnings"],
        record["metrics"],
        record.get("run", ""),
        record.get("machine", ""),
    )


def check(entry: Entry) -> None:
    """Raise StoreError if a file of the entry is not what was stored."""
    for name, digest in entry.artifact.files.items():
        path = entry.artifact.root / name
        if not path.is_file() or sha256_of(path) != digest:
            raise StoreError(f"{path} is missing or not what was stored")
