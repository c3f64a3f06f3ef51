"""Variants and their names."""

from __future__ import annotations

import pytest

from stages.artifacts import Precision
from stages.numerics.variants import (
    BUILT,
    FP32,
    INT8,
    SEED,
    VARIANTS,
    FloatFormat,
    Variant,
    engine_of,
    is_float,
    title_of,
    variant,
)


@pytest.mark.parametrize(
    ("made", "name", "title"),
    [
        (Variant(Precision.FP32), "fp32", "FP32"),
        (Variant(Precision.FP32, FloatFormat.BF16), "bf16", "BF16"),
        (Variant(Precision.INT8), "int8", "INT8"),
        (Variant(Precision.INT8, FloatFormat.BF16), "int8_bf16", "INT8 + BF16"),
        (Variant(Precision.INT8, FloatFormat.FP16, pinned=True), "int8_fp16_pm", "INT8 + FP16 + PM"),
        (Variant(Precision.FP32, pinned=True, cuda_graph=True), "fp32_pm_graph", "FP32 + PM + graph"),
    ],
)
def test_a_variant_and_its_name(made: Variant, name: str, title: str) -> None:
    assert str(made) == name and made.title == title_of(name) == title
    assert variant(name) == made


def test_all_names_differ_and_say_what_is_built() -> None:
    assert len(VARIANTS) == 18 and all(str(made) == name for name, made in VARIANTS.items())
    assert BUILT == ["fp32", "fp16", "bf16", "int8", "int8_fp16", "int8_bf16"]
    assert {engine_of(name) for name in VARIANTS} == set(BUILT)
    assert engine_of("int8_fp16_pm") == "int8_fp16" and variant("int8_fp16_pm").engine == variant("int8_fp16")
    assert [name for name in BUILT if is_float(name)] == ["fp32", "fp16", "bf16"]


def test_the_two_precisions_are_variants_under_their_names() -> None:
    assert variant(Precision.FP32) == FP32 and variant(Precision.INT8) == INT8
    assert set(SEED) <= set(VARIANTS)


def test_other_names_stay_what_they_are() -> None:
    assert title_of("champion") == engine_of("champion") == "champion" and not is_float("champion")
    with pytest.raises(ValueError, match="there is no variant 'int4'"):
        variant("int4")
    with pytest.raises(ValueError, match="needs page-locked buffers"):
        Variant(Precision.FP32, cuda_graph=True)
