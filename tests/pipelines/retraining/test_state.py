"""What retraining remembers: taken as it was written, or refused by name; damage is not taken for a first time."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.retraining.journal import Journal
from pipelines.retraining.state import State
from stages.errors import InputError


def test_what_was_accepted_and_considered_is_read_back(tmp_path: Path) -> None:
    state = State(tmp_path / "name")
    assert state.accepted() is None and state.considered() is None
    state.accept({"images": {}})
    state.consider({"images": {"a": [1, 2, "x"]}}, "kept", "run")
    assert state.accepted() == {"images": {}}
    considered = state.considered()
    assert considered is not None and (considered["outcome"], considered["run_id"]) == ("kept", "run")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"snapshot": 3}', "[" * 100_000])
def test_what_is_damaged_is_named(text: str, tmp_path: Path) -> None:
    for name, ask in (("accepted", State(tmp_path).accepted), ("considered", State(tmp_path).considered)):
        (tmp_path / f"{name}.json").write_text(text)
        with pytest.raises(InputError, match=rf"{name}.json cannot be read: .*; remove it, and the next retraining"):
            ask()


def test_a_line_that_is_no_record_is_left_out_of_the_journal(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.folder.mkdir()
    lines = ['{"outcome": "kept"}', "[1]", "3", "{", '{"a": ' + "[" * 100_000, '{"outcome": "promoted"}']
    journal.history.write_text("\n".join(lines))
    assert [line["outcome"] for line in journal.lines()] == ["kept", "promoted"]
