"""Learning rates by the step."""

from __future__ import annotations

import pytest

from stages.distillation.schedule import by_options, falling
from stages.options.compression import CompressionSettings


def test_half_a_cosine_falls_from_one_to_nothing() -> None:
    assert [falling(step, 4) for step in range(5)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466, 0])


def test_the_rate_rises_and_then_follows_the_schedule() -> None:
    o = CompressionSettings(lr=0.1, steps=10, warmup_steps=2, cosine_length=1)
    of = [by_options(step, o) for step in range(10)]
    assert of[:3] == pytest.approx([0.05, 0.1, 0.1]) and of[6] == pytest.approx(0.05)
    assert of[2:] == sorted(of[2:], reverse=True) and of[-1] < 0.005
    constant = CompressionSettings(lr=0.1, steps=10, warmup_steps=2, lr_schedule="constant")
    assert [by_options(step, constant) for step in (0, 2, 9)] == pytest.approx([0.05, 0.1, 0.1])
