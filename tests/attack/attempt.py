"""One attempt: a command line in a folder of its own, and what has to hold however bad its inputs are."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import signal
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pipelines.cli import main
from stages.outside.text import LONGEST

PATIENCE = 240
"""Seconds after which a command counts as blocked (`verify` waits for others who measure here); it ends then as an
unforeseen error."""

Prepare = Callable[[Path], None]
"""Puts the inputs of a case into the folder that its command runs in."""


def nothing(work: Path) -> None:
    """The command line alone is bad."""


@dataclass(frozen=True)
class Case:
    """A command line on bad inputs.

    Attributes:
        words: ``{work}`` is the folder that it runs in, ``{beside}`` the one that holds it.
        codes: how it may end.
        writes: patterns of what it may make or change, from its folder; the inputs must not be among it.
    """

    name: str
    words: tuple[str, ...]
    prepare: Prepare = nothing
    codes: Collection[int] = (2,)
    writes: tuple[str, ...] = ()

    def command(self, work: Path) -> list[str]:
        """The words as the command line gets them."""
        return [w.replace("{work}", str(work)).replace("{beside}", str(work.parent)) for w in self.words]


def parameters(cases: Collection[Case]) -> list[Any]:
    """The cases for pytest."""
    return [pytest.param(case, id=case.name) for case in cases]


def attempt(case: Case, beside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a case in ``beside/work`` and check how it ended, what it said and what it wrote."""
    work = prepared(case, beside)
    monkeypatch.setenv("HOME", str(beside / "home"))
    # Matplotlib lists its fonts once for a home.
    monkeypatch.setenv("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / f"detpress-attack-{os.getuid()}"))
    monkeypatch.chdir(work)
    before, environment = snapshot(beside), dict(os.environ)
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), patience():
            code = main(case.command(work))
    finally:  # whatever the command set
        os.environ.clear()
        os.environ.update(environment)
    judge(case, code, out.getvalue(), err.getvalue())
    require_untouched(case, before, snapshot(beside))


def prepared(case: Case, beside: Path) -> Path:
    """The folder of a case with its inputs, a neighbour that is none of its business, and a home."""
    work = beside / "work"
    for folder in (work, beside / "home"):
        folder.mkdir()
    (beside / "x").write_text("a neighbour")
    case.prepare(work)
    return work


def judge(case: Case, code: int, out: str, err: str) -> None:
    """One error in its documented form if it ended badly, and none if not. What failed a gate (3) is a result."""
    assert "Traceback" not in out + err and "unexpected error" not in err, err
    assert code in case.codes, f"ended with {code}:\n{err}"
    strange = re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f\u2028-\u202e\u2066-\u2069]", out + err)
    assert strange is None, f"a control character is printed: {strange!r}"
    assert max(map(len, err.splitlines()), default=0) <= LONGEST + 100, "a line without end"
    _require_json(case, code, out)
    heads = [line for line in err.splitlines() if re.match(r"(detpress [\w -]+: )?error: ", line)]
    if code == 2 and not heads:
        assert re.search(r"^missing: ", out, re.MULTILINE), f"it does not say what is wrong:\n{out}\n{err}"
    elif code not in (0, 3):
        assert len(heads) == 1, err
        _require_form(err.rstrip("\n").splitlines(), heads[0])
    else:
        assert heads == [], err


def _require_json(case: Case, code: int, out: str) -> None:
    """Where a program reads what is printed, nothing else is."""
    if "--json" in case.words:
        documents = [out] if code in (0, 3) or out else []
    else:
        documents = out.splitlines() if case.words[0] == "predict" and "--help" not in case.words else []
    for text in documents:
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def _require_form(lines: list[str], head: str) -> None:
    """Nothing follows the line but what belongs to it: the list of a config's problems."""
    rest = lines[lines.index(head) + 1 :]
    listed = re.search(r"the config has (?:a problem|(\d+) problems):$", head)
    if listed is None:
        assert rest == [], f"more than one line:\n{rest}"
    else:
        assert rest and all(line.startswith("  ") for line in rest), rest
        assert sum(line.startswith("  - ") for line in rest) == int(listed[1] or 1), rest


def require_untouched(case: Case, before: dict[str, str], after: dict[str, str]) -> None:
    """Nothing was written but what the command says, and no input changed."""
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    inputs = [name for name in changed if name in before]
    assert inputs == [], f"inputs changed: {inputs}"
    other = [name for name in changed if not any(fnmatch(name, f"work/{pattern}") for pattern in case.writes)]
    assert other == [], f"written: {other}"


def snapshot(folder: Path) -> dict[str, str]:
    """What lies under a folder: each path with its kind and content. Pipes and devices are not opened."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        kind = stat.filemode(mode)
        if stat.S_ISLNK(mode):
            kind += f" -> {path.readlink()}"
        elif stat.S_ISREG(mode):
            kind += f" {path.stat().st_size} {hashlib.sha256(path.read_bytes()[: 1 << 20]).hexdigest()}"
        found[path.relative_to(folder).as_posix()] = kind
    return found


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """A command that blocks ends."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"it is still not over after {PATIENCE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
