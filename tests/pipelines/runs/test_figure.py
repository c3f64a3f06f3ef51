"""A number is never told alone."""

from __future__ import annotations

import pytest

from pipelines.runs.figure import Figure


def test_a_figure_says_what_is_known_of_it() -> None:
    assert str(Figure(1.5, "times", 1.25, 1.75, "valid")) == "1.50 times (95 %: 1.25 to 1.75)"
    disturbed = Figure(2.0, "ms", verdict="invalid: others ran")
    assert not disturbed.valid and str(disturbed) == "2.00 ms (measured while disturbed: others ran)"
    with pytest.raises(TypeError):
        float(disturbed)  # type: ignore[arg-type]
