"""The number of attacks that the security page states."""

from __future__ import annotations

from tests.attack import test_bundles, test_command_lines, test_configs, test_engines, test_records
from tests.conftest import ROOT

MODULES = (test_bundles, test_command_lines, test_configs, test_engines, test_records)


def test_the_page_counts_the_attacks() -> None:
    count = sum(len(module.CASES) for module in MODULES) + len(test_bundles.LABEL_FILES) + test_engines.OPENVINO_CASES
    assert count >= 400
    page = (ROOT / "docs" / "security.md").read_text()
    assert f"| generated bad inputs for every command | {count} |" in page
