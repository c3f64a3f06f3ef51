"""Classes of a model and of a labelled set: matched by name, whatever their order."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from stages.detection.classes import boxes_of_unknown, listed, match_classes, require_known
from stages.errors import DataError

CATEGORIES = [{"id": 9, "name": "ant"}, {"id": 4, "name": "bee"}, {"id": 7, "name": "cat"}]


def coco(*boxes: int, crowds: tuple[int, ...] = ()) -> dict[str, Any]:
    annotations = [{"category_id": c, "iscrowd": 0} for c in boxes] + [{"category_id": c, "iscrowd": 1} for c in crowds]
    return {"categories": CATEGORIES, "annotations": annotations}


@pytest.mark.parametrize("labels", list(itertools.permutations(["ant", "bee", "cat"])))
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_any_order_of_either_gives_the_same_pairs(labels: tuple[str, ...], order: tuple[int, ...]) -> None:
    matched = match_classes(labels, [CATEGORIES[i] for i in order])
    assert matched.categories == [{"ant": 9, "bee": 4, "cat": 7}[name] for name in labels]
    assert (matched.unknown, matched.by_order) == ([], False)


def test_what_only_one_of_the_two_has() -> None:
    matched = match_classes(["dog", "cat", "ant"], CATEGORIES)
    assert matched.categories == [None, 7, 9]
    assert matched.unknown == ["bee"]


def test_without_a_common_name_the_order_counts_where_there_is_one_order_only() -> None:
    by_id = sorted(CATEGORIES, key=lambda c: int(str(c["id"])))
    matched = match_classes(["0", "1", "2"], by_id)
    assert (matched.categories, matched.by_order) == ([4, 7, 9], True)
    with pytest.raises(DataError, match=r"order of the file they would be ant, bee, cat, by their ids bee, cat, ant"):
        match_classes(["0", "1", "2"], CATEGORIES)
    with pytest.raises(DataError, match=r"2 classes \(0, 1\), the labels 3 \(ant, bee, cat\)"):
        match_classes(["0", "1"], CATEGORIES)
    with pytest.raises(DataError, match="several classes called ant"):
        match_classes(["ant", "ant", "bee"], CATEGORIES)


def test_categories_that_the_model_lacks_are_refused_only_if_there_are_boxes_of_them() -> None:
    matched = match_classes(["ant", "cat"], CATEGORIES)
    assert require_known(coco(9, 7), match_classes(["ant", "bee", "cat"], CATEGORIES), "they") is None
    remark = require_known(coco(9, 7, crowds=(4,)), matched, "the labels")
    assert remark == "the labels list bee, which the model does not know; no box is of them"
    with pytest.raises(DataError, match=r"does not know: bee \(2\); name the model's classes"):
        require_known(coco(9, 4, 4), matched, "the labels")
    assert boxes_of_unknown(coco(9, 4, 4), ["bee", "cat"]) == {"bee": 2}


def test_long_lists_are_cut() -> None:
    assert listed([str(i) for i in range(9)]) == "0, 1, 2, 3, 4, 5 and 3 more"
