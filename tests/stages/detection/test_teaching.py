"""Which larger detectors can teach a smaller one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stages.detection.sidecar import Sidecar
from stages.detection.teaching import Side, fitting_classes
from stages.errors import ConfigError


def side(labels: tuple[str, ...], *, sizes: tuple[int, ...] = (3, 6, 12), bins: int = 17) -> Side:
    shapes = []
    for size in sizes:
        shapes += [[-1, len(labels), size, size], [-1, bins, size * size, 4]]
    return Side(Sidecar((96, 96), labels=labels), shapes)


def test_classes_are_matched_by_name_and_the_teacher_may_know_more() -> None:
    assert fitting_classes(side(("c", "x", "a", "b")), side(("a", "b", "c"))) == [2, 3, 0]


def test_one_that_lacks_a_class_is_refused_with_what_may_be_meant() -> None:
    with pytest.raises(ConfigError, match=r"does not know the class square; did you mean squares\? .*teacher_labels"):
        fitting_classes(side(("circle", "squares")), side(("circle", "square")))


@pytest.mark.parametrize("wrong", [{"sizes": (3, 6)}, {"sizes": (6, 12, 24)}, {"bins": 9}])
def test_other_levels_or_box_distributions_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="same strides and reg_max"):
        fitting_classes(side(("a",), **wrong), side(("a",)))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", [{"mean": (0.0, 0.0, 0.0)}, {"input_size": (64, 96)}, {"interpolation": "linear"}])
def test_images_that_are_prepared_in_another_way_are_refused(wrong: dict[str, object]) -> None:
    own = side(("a",))
    with pytest.raises(ConfigError, match=f"takes images with {next(iter(wrong))}=.*same family"):
        fitting_classes(replace(own, sidecar=replace(own.sidecar, **wrong)), own)  # type: ignore[arg-type]
