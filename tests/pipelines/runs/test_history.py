"""A run is named by its id, by the end of it that no other run has, by `latest` or by its folder."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from pipelines.runs.history import find_run, short_ids
from stages.errors import InputError

NAMES = [
    "20260101-101500-tiny-shapes-1a2b",
    "20260102-101500-tiny-shapes-9f9f",
    "20260103-101500-tiny-cells-9f9f",
    "20260104-101500-tiny-cells-0000",
    "20260105-101500-tiny-cells-0000",
]


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    for name in NAMES:
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs" / "latest").symlink_to(NAMES[-1])
    return tmp_path


def test_every_short_id_names_its_run(artifacts: Path) -> None:
    short = short_ids(artifacts)
    assert [short[name] for name in NAMES] == ["1a2b", "shapes-9f9f", "cells-9f9f", NAMES[3], NAMES[4]]
    for name in NAMES:
        assert find_run(short[name], artifacts).name == find_run(name, artifacts).name == name
        assert find_run(str(artifacts / "runs" / name), artifacts).name == name
    assert find_run("latest", artifacts).resolve().name == NAMES[-1]


def test_thousands_of_runs_have_short_ids_that_differ(tmp_path: Path) -> None:
    chance = random.Random(0)
    for i in range(1500):
        (tmp_path / "runs" / f"20260101-{i:06d}-tiny-shapes-{chance.randrange(1 << 16):04x}").mkdir(parents=True)
    short = short_ids(tmp_path)
    assert len(set(short.values())) == len(short) == 1500
    assert all(name.endswith(end) for name, end in short.items())
    assert sum(len(end) == 4 for end in short.values()) > 1300


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("9f9f", f"9f9f fits 2 runs; write more of the id: {NAMES[2]}, {NAMES[1]}"),
        ("a2b", "there is no run a2b"),  # too short to be meant
        ("beef", "there is no run beef"),
        ("20260101-101500-tiny-shapes-1a2c", f"did you mean {NAMES[0]}"),
    ],
)
def test_what_names_no_run_or_several(artifacts: Path, word: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        find_run(word, artifacts)
    assert told in str(caught.value)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    assert short_ids(tmp_path) == {}
    with pytest.raises(InputError, match="there are no runs under"):
        find_run("1a2b", tmp_path)
