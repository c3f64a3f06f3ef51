"""Fixtures that every test may use."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import FakeContext

ROOT = Path(__file__).resolve().parents[1]
BCCD = ROOT.parent / "shared" / "data" / "bccd"


@pytest.fixture
def context(tmp_path: Path) -> FakeContext:
    return FakeContext(tmp_path / "stage")


@pytest.fixture
def bccd() -> Path:
    """Real photographs with labels; they lie beside the checkout, not in it."""
    if not (BCCD / "val.json").is_file():
        pytest.skip(f"needs the BCCD images in {BCCD}")
    return BCCD
