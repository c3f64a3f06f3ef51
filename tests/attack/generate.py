"""Bad values, bad texts and bad files, made from a seed: the same ones in every run."""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

NAMES = (
    "$x^$",
    "[/x]",
    "[bold]x",
    "../../x",
    "/x",
    "..",
    "a\nb",
    "a\x1b[2Jb",
    "a\u202eb",
    "a\rb\u2028error: c",
    "\udcff",
    "x" * 5000,
    "-x",
    "%s",
    "{0}",
)
"""Texts that are something else to a shell, a terminal, a figure, a page or a file system."""

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 10**30, -(10**30), float("nan"), float("inf"), 1e308, "", [], {}, [[]], {"$type": "Path"},
    *NAMES,
)  # fmt: skip
"""What takes the place of a value in a JSON file."""

DEEP = "[" * 100_000
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "half": b'{"a": [1, 2',
    "a list": b"[1]",
    "nothing": b"null",
    "a number": b"1e400",
    "a long number": b"9" * 5000,
    "deep": DEEP.encode(),
    "deep objects": b'{"a":' * 100_000,
    "no UTF-8": b'{"a": "\xff\xfe"}',
    "zeros": b"\0" * 4096,
    "half a character": b'{"run_id": "\\ud800"}',
    "a page": b"<!doctype html><title>Sign in</title>",
}
"""Contents of a file that should be a JSON object."""


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _huge(path: Path) -> None:
    """65 MB that take no room on the disk."""
    path.write_bytes(b"[")
    os.truncate(path, 65 << 20)


STRANGE: dict[str, Callable[[Path], None]] = {
    "a pipe": _pipe, "a folder": _folder, "a link to itself": _loop, "a dangling link": _dangling,
    "a device": _device, "a huge file": _huge,
}  # fmt: skip
"""What may lie where a file should."""


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside of a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*at, key)
        yield from places(one, (*at, key))


def changed(content: Any, count: int, seed: int) -> Iterator[tuple[str, Any]]:
    """``count`` copies of a JSON value, each with another value, or none, in one place; with what was done."""
    rng = random.Random(seed)
    everywhere = list(places(content))
    for i in range(count):
        place, value = everywhere[i % len(everywhere)], rng.choice((*VALUES, ...))
        made = copy.deepcopy(content)
        holder = made
        for key in place[:-1]:
            holder = holder[key]
        if value is ...:
            del holder[place[-1]]
        else:
            holder[place[-1]] = value
        yield f"{i} {'.'.join(map(str, place))} {'gone' if value is ... else ascii(value)[:24]}", made


def mutated(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """``count`` copies of a file: cut, with bytes exchanged, or with a part doubled."""
    rng = random.Random(seed)
    for i in range(count):
        made = bytearray(content)
        at = rng.randrange(len(made))
        if i % 3 == 0:
            del made[at:]
        elif i % 3 == 1:
            for _ in range(rng.randint(1, 8)):
                made[rng.randrange(len(made))] = rng.randrange(256)
        else:
            made[at:at] = made[at : at + rng.randint(1, 64)]
        yield bytes(made)


def write_json(path: Path, content: Any) -> None:
    """As Python writes it: NaN and infinities too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
