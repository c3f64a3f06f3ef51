"""Options are held against types and rules, all problems at once, each with its key."""

from __future__ import annotations

import math

import pytest

from stages.errors import ConfigError
from stages.options.check import check_options, require_valid
from stages.options.compression import DistillOptions
from stages.options.data import DataOptions
from stages.options.latency import LatencySettings, check_rounds
from stages.options.model import ModelOptions


def test_good_options_have_no_problem() -> None:
    assert check_options(DistillOptions(), "compression") == []
    require_valid(DistillOptions(), "compression")


def test_all_problems_come_at_once_and_parts_have_the_keys_of_their_own_section() -> None:
    wrong = DistillOptions(steps=0, loss="l3", model=ModelOptions(input_size=[100, 32]))
    wrong.nms.nms_top_k = 0
    assert [problem.key for problem in check_options(wrong, "compression")] == [
        "compression.steps", "compression.loss", "model.input_size", "accuracy.nms.nms_top_k"
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="4 problems"):
        require_valid(wrong, "compression")


def test_a_nested_section_is_named_by_its_field() -> None:
    options = DataOptions()
    options.shapes.size = [32, 32]
    (problem,) = check_options(options, "data")
    assert str(problem).startswith("data.shapes.size: [32, 32] does not fit; it must be 2 numbers")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_have_to_be_finite(value: float) -> None:
    (problem,) = check_options(DistillOptions(temperature=value), "compression")
    assert str(problem) == f"compression.temperature: {value!r} does not fit; it must be finite"
    (problem,) = check_options(ModelOptions(mean=[0.5, value, 0.5]), "model")
    assert problem.key == "model.mean"


def test_types_are_checked_too_for_stages_that_are_called_directly() -> None:
    wrong = DistillOptions(steps="many", lr=True, images=None, eval_by=None, quantize_op_types="conv2d")  # type: ignore[arg-type]
    assert [str(problem) for problem in check_options(wrong)] == [
        "steps: 'many' does not fit; it must be a whole number",
        "lr: True does not fit; it must be a number",
        "quantize_op_types: 'conv2d' does not fit; it must be a list of texts",
        "eval_by: None does not fit; it must be a text",
    ]


def test_more_rounds_than_runs_are_refused() -> None:
    assert check_rounds(LatencySettings(runs=10, rounds=10)) == []
    assert check_rounds(LatencySettings(runs=10, rounds=11)) == [
        "latency.runs: 10 does not fit; it must be at least latency.rounds=11"
    ]
