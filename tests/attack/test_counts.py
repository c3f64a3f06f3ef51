"""What the security page states: how many attacks there are, and which test is of which fault."""

from __future__ import annotations

import re
import string

from tests.attack import (
    test_bundles,
    test_command_lines,
    test_configs,
    test_data_sets,
    test_databases,
    test_engines,
    test_files,
    test_records,
    test_store,
)
from tests.conftest import ROOT

CASES = (
    *(test_bundles.CASES, test_command_lines.CASES, test_configs.CASES, test_data_sets.CASES, test_engines.CASES),
    test_databases.CASES,
    *(test_files.CASES, test_records.CASES, test_store.CASES),
)
READ = (test_bundles.LABEL_FILES, test_data_sets.SETS, test_data_sets.LABELS, test_files.PICKLES)


def test_the_page_counts_the_attacks() -> None:
    commands = sum(map(len, CASES)) + test_engines.OPENVINO_CASES
    readers = sum(map(len, READ)) + test_files.DAMAGED
    page = (ROOT / "docs" / "security.md").read_text()
    assert f"| generated bad inputs for every command | {commands} |" in page
    assert f"| generated bad inputs for the readers of data sets and checkpoints | {readers} |" in page


def test_the_page_names_a_test_for_each_fault() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    rows = dict(re.findall(r"^\| \(([a-z])\) (.*)$", page, re.MULTILINE))
    assert list(rows) == list(string.ascii_lowercase[:19])
    assert all("::" in row for row in rows.values())


def test_each_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", page)
    assert len(named) > 19
    for file, test in named:
        text = (ROOT / file).read_text()
        assert re.search(rf"^def {test}\(", text, re.MULTILINE) if test else text, f"{file}::{test}"
