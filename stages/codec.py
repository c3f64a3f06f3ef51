"""Artifacts, inputs and options to JSON and back: the words between the orchestrator and its workers."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from stages import artifacts
from stages.artifacts import Artifact
from stages.errors import StoreError
from stages.numerics.variants import VARIANTS
from stages.outside.names import relative, shown

_TYPE = "$type"
_FILE_FIELDS = ("main", "weights", "program", "params", "settings")
"""Fields of artifacts that name one of the files."""


def to_json(value: Any) -> Any:
    """A JSON-able form of dataclasses, paths, enums and containers of them. Artifacts carry their type's name."""
    if isinstance(value, Artifact):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {_TYPE: type(value).__name__, **fields}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(v) for v in value]
    return value


def artifact_from_json(data: Mapping[str, Any]) -> Artifact:
    """The artifact that ``to_json`` wrote.

    Raises:
        StoreError: the type is unknown, a field does not fit, as when another version wrote the entry, or a file's name
            leads out of the artifact's folder.
    """
    name = data.get(_TYPE, "")
    cls = getattr(artifacts, str(name), None)
    if not (isinstance(cls, type) and issubclass(cls, Artifact)):
        raise StoreError(f"unknown artifact type {name!r}; it was written by another version of detpress")
    artifact: Artifact = dataclass_from_json(cls, {k: v for k, v in data.items() if k != _TYPE})
    for file in artifact.files:
        relative(file, name, "files")
    if isinstance(precision := getattr(artifact, "precision", "fp32"), str) and precision not in VARIANTS:
        raise StoreError(f"{name}.precision is {shown(precision)}, which is no variant; another version wrote it")
    for field in _FILE_FIELDS:
        if artifact.files and (file := getattr(artifact, field, "")) and file not in artifact.files:
            raise StoreError(f"{name}.{field} is {shown(file)}, which is not among its files")
    return artifact


def dataclass_from_json(cls: type, data: Mapping[str, Any]) -> Any:
    """An instance of the dataclass ``cls``; nested dataclasses, enums and paths are restored."""
    from pydantic import ValidationError  # a tenth of a second that commands without results save

    known = {f.name for f in dataclasses.fields(cls)}
    if unknown := sorted(set(data) - known):
        raise StoreError(f"{cls.__name__} has no field {', '.join(unknown)}; it was written by another version")
    try:
        return _reader(cls).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(f"{cls.__name__}.{where}: {first['msg']}") from error


@functools.cache
def _reader(cls: type) -> Any:
    """Made once a class: it takes milliseconds, and a run reads the record of every stage several times."""
    from pydantic import TypeAdapter

    return TypeAdapter(cls)


def inputs_from_json(cls: type, data: Mapping[str, Any]) -> Any:
    """An instance of a stage's ``Inputs``, whose fields are artifacts, lists of artifacts, or ``None``."""
    return cls(**{name: _input(value) for name, value in data.items()})


def _input(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return [artifact_from_json(item) for item in value]
    return artifact_from_json(value)
