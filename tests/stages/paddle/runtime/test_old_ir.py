"""Programs of the old format are built by every function that has a row, on Paddle 3 as on Paddle 2.6."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stages.workers import probed

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    result: dict[str, Any] = probed("tests.stages.paddle.probe_old_ir")
    return result


def test_each_function_computes_what_it_is_called_after(found: dict[str, Any]) -> None:
    assert set(found["rows"]) <= set(found["far"])
    assert {name: far for name, far in found["far"].items() if isinstance(far, str) or far > 1e-6} == {}


def test_the_program_has_the_operators_of_paddle_2(found: dict[str, Any]) -> None:
    for kind in ("elementwise_max", "elementwise_mul", "isfinite_v2", "matmul_v2", "reduce_sum", "sigmoid"):
        assert kind in found["kinds"]


def test_outside_of_programs_they_are_what_they_were(found: dict[str, Any]) -> None:
    assert found["eager"] == [0.5 + 0.5 + 1 + 4 + 3.5 + 1, 4, 4]


def test_what_a_row_does_not_know_is_refused(found: dict[str, Any]) -> None:
    assert found["version"].startswith("2.") or "dtype=" in found["refused"]


def test_what_is_added_to_a_program_overwrites_nothing_in_it(found: dict[str, Any]) -> None:
    assert found["twice"] == []
    assert found["prefixed"] == [True, True]


def test_the_halves_of_a_joined_output_have_names_of_their_own(found: dict[str, Any]) -> None:
    assert len(found["split"]["outputs"]) == 2
    assert set(found["split"]["outputs"]).isdisjoint(found["split"]["before"])
