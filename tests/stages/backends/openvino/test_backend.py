"""OpenVINO's recipe goes by what the CPU convolves."""

from __future__ import annotations

import pytest

from stages.backends.base import cpu_name
from stages.backends.openvino.recipe import INT8_ACTIVATIONS, UINT8_ACTIVATIONS, recipe_for
from stages.lowering.passes import lower
from tests.stages.lowering.test_placement import head


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("Intel(R) Xeon(R) Platinum 8481C avx2 avx512_vnni avx_vnni amx_int8", INT8_ACTIVATIONS),
        ("AMD EPYC avx2 avx512_vnni avx_vnni", UINT8_ACTIVATIONS),
        ("Neoverse-N1 asimddp", INT8_ACTIVATIONS),
    ],
)
def test_activations_are_made_uint8_on_x86_without_amx(cpu: str, expected: tuple[str, ...]) -> None:
    assert recipe_for(cpu) == expected
    assert ("activations_to_uint8" in expected) is (expected == UINT8_ACTIVATIONS)


def test_this_machine_has_a_recipe() -> None:
    assert recipe_for(cpu_name()) in (INT8_ACTIVATIONS, UINT8_ACTIVATIONS)


@pytest.mark.parametrize("recipe", [INT8_ACTIVATIONS, UINT8_ACTIVATIONS])
def test_the_last_convolution_is_integer_and_ends_in_float(recipe: tuple[str, ...]) -> None:
    ov = pytest.importorskip("openvino")
    model, _ = lower(head(), recipe)
    core = ov.Core()
    compiled = core.compile_model(
        core.read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    told = [
        {key: str(value.value) for key, value in op.rt_info.items()} for op in compiled.get_runtime_model().get_ops()
    ]
    integer = [of for of in told if of["layerType"] == "Convolution" and of["runtimePrecision"] in ("i8", "u8")]
    assert [of["outputPrecisions"] for of in integer if of["outputPrecisions"] == "f32"] == ["f32"]
    assert len(integer) == 2
