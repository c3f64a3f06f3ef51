"""A recipe's file: read safely, and looked at key by key, so that no key is left unsaid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from stages.errors import InputError
from stages.outside import files, yaml_text

LARGEST = 1 << 20  # bytes; recipes have one or two kilobytes
_MOST_VALUES = 100_000
"""Of a recipe whose aliases are written out."""


@dataclass
class Translation:
    """What came out of a recipe."""

    choices: dict[str, str] = field(default_factory=dict)
    """Config group -> the choice."""
    values: dict[str, Any] = field(default_factory=dict)
    """Config key -> value."""
    left: list[str] = field(default_factory=list)
    """Keys of the recipe that were not taken, each with the reason."""
    missing: list[str] = field(default_factory=list)
    """Config keys that still have to be given, each with what for."""


class _Loader(yaml.SafeLoader):
    """Safe YAML, in which PaddleDetection's own tags (``!COCODataSet``) are mappings that remember the tag."""


def _tagged(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if not isinstance(node, yaml.MappingNode):
        raise yaml.constructor.ConstructorError(None, None, f"!{suffix} is no section of keys", node.start_mark)
    return {"!": suffix, **{str(k): v for k, v in loader.construct_mapping(node, deep=True).items()}}


_Loader.add_multi_constructor("!", _tagged)


def read_yaml(file: Path) -> dict[str, Any]:
    """The content of a YAML file.

    Raises:
        InputError: it cannot be read, is no YAML, or is no mapping.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(f"{file} is no recipe: it has more than a megabyte; name FastDeploy's or ACT's YAML file")
        content = yaml_text.parse(files.read_text(file), loader=_Loader, most=_MOST_VALUES)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:  # UnicodeDecodeError is one
        raise InputError(f"{file} is no YAML that can be read safely: {error}; correct the file") from error
    if not isinstance(content, dict):
        raise InputError(f"{file} is no recipe: sections of keys are expected, such as Global and TrainConfig")
    return {str(key): value for key, value in content.items()}


class Section:
    """A section of a recipe. Keys are taken out one by one; `close` names those that nobody asked for."""

    def __init__(self, file: Path, name: str, content: Any, out: Translation) -> None:
        """
        Raises:
            InputError: it is no mapping.
        """
        if content is not None and not isinstance(content, Mapping):
            raise InputError(f"{file}: {name} is {content!r}, and a section of keys is expected there")
        self.file, self.name, self.out = file, name, out
        self._rest: dict[str, Any] = {str(k): v for k, v in (content or {}).items()}

    def __contains__(self, key: str) -> bool:
        return self._rest.get(key) is not None

    def key(self, key: str) -> str:
        """``TrainConfig.train_iter``; the bare key at the top of a file."""
        return f"{self.name}.{key}" if self.name else key

    def take(self, key: str) -> Any:
        """The value, ``None`` for YAML's null, for Python's ``None`` (which such files write) and for no such key."""
        value = self._rest.pop(key, None)
        return None if value == "None" else value

    def leave(self, key: str, why: str) -> None:
        """Not taken."""
        self._rest.pop(key, None)
        self.out.left.append(f"{self.key(key)}: {why}")

    def expect(self, key: str, *usual: Any, why: str) -> None:
        """A key of which only the ``usual`` values are what is done anyway."""
        value = self.take(key)
        if value is not None and value not in usual:
            self.leave(key, f"{value!r} is not taken: {why}")

    def number(self, key: str, *, whole: bool = False) -> Any:
        """A number above zero (YAML reads ``3e-5`` as text), or ``None``.

        Raises:
            InputError: it is something else.
        """
        value = self.take(key)
        if value is None:
            return None
        return self.as_number(key, value, whole=whole)

    def as_number(self, key: str, value: Any, *, whole: bool = False, least: float = math.ulp(0.0)) -> Any:
        """``value`` of ``key`` as a number of at least ``least``; errors as of `number`."""
        try:
            found = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            found = math.nan
        if not (math.isfinite(found) and found >= least) or (whole and found != int(found)):
            kind = "a whole number" if whole else "a number"
            bound = "above 0" if least > 0 else "of at least 0"
            raise InputError(f"{self.file}: {self.key(key)} is {value!r}, and {kind} {bound} is expected there")
        return int(found) if whole else found

    def texts(self, key: str) -> list[str] | None:
        """A list of texts (a single one counts as such), or ``None``.

        Raises:
            InputError: it is something else.
        """
        value = self.take(key)
        value = [value] if isinstance(value, str) else value
        if value is None:
            return None
        if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{self.file}: {self.key(key)} is {value!r}, and a list of names is expected there")
        return list(value)

    def inside(self, key: str) -> Section:
        """A section in this one; empty where there is none."""
        return Section(self.file, self.key(key), self.take(key), self.out)

    def close(self) -> None:
        """Say of every key that is left that it was not taken."""
        for key, value in list(self._rest.items()):
            if value is not None:
                self.leave(key, "there is nothing like it here")
