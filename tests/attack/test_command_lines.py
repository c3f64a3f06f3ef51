"""Bad words for every command: names, numbers, ports, folders and options that fit nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli import COMMANDS
from tests.attack.attempt import Case, Prepare, attempt, parameters
from tests.attack.generate import NAMES, STRANGE, TEXTS

NUMBERS = ("nan", "inf", "-1", "1e400", "x", "", "9" * 5000, "0x10", "1;2", "\u0663\u0664x")
UNUSABLE = ("/dev/null/x", "/proc/nothing", "/dev/zero", "")
"""Folders that nobody can make, root included."""

READERS = (
    *(("report",), ("trend",), ("pareto",), ("compare", "1"), ("gc", "--keep-last", "1"), ("champion",), ("rollback",)),
    *(("promote",), ("reproduce",), ("schedule", "list"), ("bundle",)),
)


def argument_cases() -> Iterator[Case]:
    for name in sorted(COMMANDS):
        yield Case(f"{name} --no-such-flag", (name, "--no-such-flag"))
    for name in NAMES:
        said = ascii(name)[:20]
        yield Case(f"command {said}", (name,))
        yield Case(f"champion of {said}", ("champion", "--artifacts", name))
        yield Case(f"verify {said}", ("verify", name))
        yield Case(f"predict {said}", ("predict", name, name))
        yield Case(f"import-config {said}", ("import-config", name))
        yield Case(f"schedule pause {said}", ("schedule", "pause", name))
        yield Case(f"bundle {said}=1", ("bundle", f"{name}=1"))
        yield Case(f"ui on port {said}", ("ui", "--port", name))
        yield Case(f"verify and a word more {said}", ("verify", "x.zip", name))
        yield Case(f"compress --{said}", ("compress", f"--no{name}"))
    for number in NUMBERS:
        said = number[:20]
        yield Case(f"ui --port {said!a}", ("ui", "--port", number))
        yield Case(f"gc --keep-last {said!a}", ("gc", "--keep-last", number))
        yield Case(f"bundle golden={said!a}", ("bundle", f"golden={number}"))
        yield Case(f"trend --last {said!a}", ("trend", "--last", number))
        yield Case(f"verify --min-agreement {said!a}", ("verify", "x.zip", "--min-agreement", number))
    for port in ("0", "65536", "99999", "80 ", "-5000", "5000.0"):
        yield Case(f"ui --port {port!r}", ("ui", "--port", port))
    for folder in UNUSABLE:
        for words in READERS:
            codes = (2, 4) if words == ("promote",) else (2,)  # a folder that cannot be written is no wrong input
            yield Case(f"{' '.join(words)} in {folder!r}", (*words, "--artifacts", folder), codes=codes)


def recipe_cases() -> Iterator[Case]:
    for name, text in TEXTS.items():
        yield Case(f"import-config {name}", ("import-config", "r.yml"), _file("r.yml", text))
    for name, make in STRANGE.items():
        yield Case(f"import-config {name}", ("import-config", "r.yml"), lambda work, m=make: m(work / "r.yml"))
    bombs = {
        "a tag": b"!!python/object/apply:os.system [touch ../y]\n",
        "aliases": b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(b"%c: &%c [%s]\n" % (c, c, b",".join([b"*%c" % (c - 1)] * 9)) for c in range(98, 108)),
        "a loop": b"a: &a [*a]\n",
    }
    for name, text in bombs.items():
        yield Case(f"import-config {name}", ("import-config", "r.yml"), _file("r.yml", text))


def _file(name: str, content: bytes) -> Prepare:
    def prepare(work: Path) -> None:
        (work / name).write_bytes(content)

    return prepare


WRITES = {
    "promote": ("artifacts", "artifacts/retrain", "artifacts/retrain/lock", "retrain", "retrain/lock"),
    "retrain": ("artifacts", "artifacts/retrain", "artifacts/retrain/*"),
}
"""The lock of retraining and promotion, and the record of a retraining that was refused."""
CASES = [
    dataclasses.replace(case, writes=WRITES.get(case.words[0], ())) for case in (*argument_cases(), *recipe_cases())
]


@pytest.mark.parametrize("case", parameters(CASES))
def test_words(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)
