"""Bundles, job stores and label files that somebody made by hand, or that were damaged on the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.detection.coco import check_coco, load_coco
from stages.errors import DataError
from tests.attack.attempt import Case, attempt, parameters, patience
from tests.attack.bundles import EXPECTED, LABELS, RECORD, bundle, encrypted, zipped
from tests.attack.generate import STRANGE, TEXTS, changed, mutated, write_json


def _written(name: str, content: bytes) -> Any:
    def prepare(work: Path) -> None:
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)

    return prepare


COMMANDS = (("verify", "b.zip"), ("predict", "b.zip", "a.png"))


def bundle_cases() -> Iterator[Case]:
    contents = {
        **TEXTS,
        "encrypted": encrypted(bundle()),
        "a file in a file": zipped({"a": b"", "a/b": b""}),
        "a file that is a folder": zipped({"a": b"", "a/": b""}),
        "a file of two names": zipped({"a": b"", "./a": b""}),
        "a folder of the record's name": zipped({"bundle.json/": b"", "SHA256SUMS/": b""}),
        "a long name": zipped({"x" * 5000: b""}),
        "a name that leads out": zipped({"../../x": b"planted"}),
        "an absolute name": zipped({"/x": b"planted"}),
        "sums that are no text": zipped({"bundle.json": b"{}", "SHA256SUMS": b"\xff"}),
        "another schema": bundle({**RECORD, "schema_version": 99}),
    }
    for name, content in contents.items():
        for words in COMMANDS:
            yield Case(f"{words[0]}: {name}", words, _written("b.zip", content))
    for name, make in STRANGE.items():
        for words in COMMANDS:
            yield Case(f"{words[0]}: {name}", words, lambda work, m=make: m(work / "b.zip"))  # type: ignore[misc]
    for name, record in changed(RECORD, 60, seed=3):
        yield Case(f"verify: record {name}", COMMANDS[0], _written("b.zip", bundle(record)))
    for name, expected in changed(EXPECTED, 30, seed=4):
        yield Case(f"verify: golden {name}", COMMANDS[0], _written("b.zip", bundle(expected=expected)))
    for i, content in enumerate(mutated(bundle(), 60, seed=5)):
        words = COMMANDS[i % 2]
        yield Case(f"{words[0]}: mutated {i}", words, _written("b.zip", content))


def store_cases() -> Iterator[Case]:
    """An empty file is none of them: to SQLite it is a database without tables."""
    for words in (("schedule", "list"), ("schedule", "remove", "a")):
        for name in sorted(TEXTS.keys() - {"empty"}):
            # The store cannot be read: that is code 4, as where its server does not answer.
            prepare = _written("artifacts/schedule/jobs.db", TEXTS[name])
            yield Case(f"{' '.join(words)}: {name}", words, prepare, (4,), ("artifacts/schedule/.jobs.db.lock",))


CASES = [*bundle_cases(), *store_cases()]


@pytest.mark.parametrize("case", parameters(CASES))
def test_a_bundle(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)


LABEL_FILES = list(changed(LABELS, 80, seed=6))


@pytest.mark.parametrize("content", [c for _, c in LABEL_FILES], ids=[name for name, _ in LABEL_FILES])
def test_labels_are_read_or_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    write_json(path, content)
    with patience():
        try:
            check_coco(load_coco(path), path)
        except DataError as error:
            assert str(path) in str(error) and "\n" not in str(error)
