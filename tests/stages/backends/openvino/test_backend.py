"""OpenVINO's recipe goes by what the CPU convolves."""

from __future__ import annotations

import pytest

from stages.backends.base import cpu_name
from stages.backends.openvino.backend import recipe
from stages.lowering.recipes import RECIPES


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8481C avx2 avx512_vnni avx_vnni amx_int8", "openvino"),
        ("AMD EPYC avx2 avx512_vnni avx_vnni", "openvino_uint8"),
        ("Neoverse-N1 asimddp", "openvino"),
    ],
)
def test_activations_are_made_uint8_on_x86_without_amx(cpu: str, expected: str) -> None:
    assert recipe(cpu) == expected
    assert ("activations_to_uint8" in RECIPES[expected]) is (expected == "openvino_uint8")


def test_this_machine_has_a_recipe() -> None:
    assert recipe(cpu_name()) in RECIPES
