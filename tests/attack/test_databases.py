"""Databases of MLflow and of schedules that are none, for the commands that ask them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.attempt import Case, Prepare, attempt, parameters
from tests.attack.generate import TEXTS
from tests.attack.test_records import runs_of

SQLITE = b"SQLite format 3\0"
CONTENTS = {
    **{name: text for name, text in TEXTS.items() if name != "empty"},  # to SQLite that is one without tables
    "a header alone": SQLITE,
    "pages of nothing": SQLITE + b"\x10\0\x01\x01\0\x40\x20\x20" + bytes(8192),
}
WRITES = ("artifacts/mlflow/.mlflow.db.lock", "artifacts/retrain", "artifacts/retrain/lock")


def _written(content: bytes) -> Prepare:
    def prepare(work: Path) -> None:
        runs_of(work)
        (work / "artifacts" / "mlflow").mkdir()
        (work / "artifacts" / "mlflow" / "mlflow.db").write_bytes(content)

    return prepare


def cases() -> Iterator[Case]:
    for name, content in CONTENTS.items():
        for words in (("champion",), ("rollback",)):
            yield Case(f"{words[0]}: {name}", words, _written(content), (2, 4), WRITES)
    yield Case("promote", ("promote", "1"), _written(TEXTS["a page"]), (2, 4), WRITES)
    add = ("schedule", "add", "model.random_weights=true", "data=shapes")
    for i, number in enumerate(("1e300", "1e18", "nan", "inf", "-1", "0", "1e400")):
        key = ("schedule.interval", "schedule.deadline", "schedule.grace", "run.stage_timeout", "tracking.timeout")[
            i % 5
        ]
        # A number that Python takes for infinite too.
        given = (*add, "schedule.interval=3600") if key != "schedule.interval" else add
        yield Case(f"schedule add {key}={number}", (*given, f"{key}={number}"), codes=(2,))

    for store in ("nothing", "file:///nowhere", "a\nb", "/dev/null", "x://y", "\x1b[2J://x", "http://["):
        words = ("gc", "--keep-last", "0", "--dry-run", "--store", store)
        yield Case(f"gc --store {store!a}", words, lambda work: runs_of(work) and None, (2, 4))
    for uri in ("http://[", "x://", "\n", "http://[::1", "sqlite:////dev/zero"):
        words = ("champion", "--uri", uri)
        yield Case(f"champion --uri {uri!a}", words, lambda work: runs_of(work) and None, (2, 4))
    yield Case("gc: a bundle's record leads nowhere", ("gc", "--keep-last", "0"), _bundled, (2,))


def _bundled(work: Path) -> None:
    runs_of(work)
    (work / "artifacts" / "bundles").mkdir()
    (work / "artifacts" / "bundles" / "b.json").symlink_to("gone")


CASES = list(cases())


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
@pytest.mark.parametrize("case", parameters(CASES))
def test_a_database(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)
