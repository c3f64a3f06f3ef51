"""The faster graph passes make the graph that the originals make."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stages.workers import probed

pytestmark = pytest.mark.slow


def probe(mode: str) -> dict[str, Any]:
    result: dict[str, Any] = probed("tests.stages.paddle.probe_passes", mode)
    return result


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return probe("plain")


@pytest.fixture(scope="module")
def patched() -> dict[str, Any]:
    return probe("patched")


@pytest.mark.parametrize("program", ["train", "test", "converted"])
def test_same_operators_variables_links_and_scales(
    program: str, plain: dict[str, Any], patched: dict[str, Any]
) -> None:
    ours, expected = patched[program], plain[program]
    assert ours["ops"] == expected["ops"]
    assert ours["vars"] == expected["vars"]
    assert ours["edges"] == expected["edges"]
    assert ours["scales"] == expected["scales"]
    assert any(op == "quantize_linear" or op == "dequantize_linear" for op, _ in ours["ops"])


def test_applied_only_within_the_context(patched: dict[str, Any]) -> None:
    assert patched["patched"] is True
    assert patched["restored"] is True
    assert patched["warnings"] == []


def test_other_versions_take_the_slow_path_and_say_so(plain: dict[str, Any]) -> None:
    other = probe("other")
    assert other["patched"] is False
    assert other["restored"] is True
    assert len(other["warnings"]) == 1
    assert "9.9.9" in other["warnings"][0]
    assert other["train"]["ops"] == plain["train"]["ops"]
