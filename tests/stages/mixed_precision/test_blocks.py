"""Layers and the blocks they belong to; distances of outputs; the order of blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stages.detection.images import evenly_spaced
from stages.mixed_precision.blocks import block_of, group
from stages.mixed_precision.distance import output_distance
from stages.mixed_precision.ranking import Damage, ordered


@pytest.mark.parametrize(
    ("layer", "block"),
    [
        ("backbone.stem.conv1.conv", "backbone.stem"),
        ("backbone.stages.2.blocks.0.conv2.conv", "backbone.stages.2.blocks.0"),
        ("backbone.stages.2.conv_down.conv", "backbone.stages.2.csp"),
        ("backbone.stages.2.attn.fc", "backbone.stages.2.csp"),
        ("neck.fpn_stages.1.0.convs.spp.conv.conv", "neck.fpn_stages.1"),
        ("neck.pan_routes.0.conv", "neck.pan_routes.0"),
        ("yolo_head.pred_cls.0", "head.pred_cls.0"),
        ("yolo_head.stem_reg.2.fc", "head.stem_reg.2"),
        ("somebody.elses", "somebody.elses"),
    ],
)
def test_a_layer_belongs_to_the_block_that_paddledetection_names(layer: str, block: str) -> None:
    assert block_of(layer) == block


def test_blocks_stand_in_the_order_of_the_layers_and_unnamed_layers_for_themselves() -> None:
    names = {"a": "backbone.stem.conv1.conv", "b": "yolo_head.pred_cls.0", "c": "backbone.stem.conv2.conv"}
    assert group(names, ["a", "x", "b", "c"]) == {
        "backbone.stem": ["a", "c"], "x": ["x"], "head.pred_cls.0": ["b"],
    }  # fmt: skip


def test_the_distance_is_zero_for_equal_outputs_and_adds_scores_and_boxes() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 6, 6]], np.float32)
    scores = np.array([[0.8, 0.0], [0.0, 0.2]], np.float32)  # two classes, two anchors
    assert output_distance(boxes, scores, boxes, scores) == 0
    other = np.array([[0.8, 0.0], [0.1, 0.2]], np.float32)
    assert output_distance(boxes, other, boxes, scores) == pytest.approx(0.1 / 1.0)
    half = np.array([[0, 0, 10, 5], [5, 5, 6, 6]], np.float32)  # IoU 0.5 on the anchor with 0.8 of the weight
    assert output_distance(half, scores, boxes, scores) == pytest.approx(0.5 * 0.8)
    nothing = np.zeros_like(scores)
    assert np.isfinite(output_distance(half, scores, boxes, nothing))


def damage(block: str, **values: Any) -> Damage:
    return Damage(block, 1, 0.1, **values)


def test_certain_drops_come_first_and_the_rest_is_ordered_by_distance() -> None:
    found = [
        damage("small", distance=0.2, map_drop=0.4, low=0.1, high=0.7),
        damage("noise", distance=0.3, map_drop=2.0, low=-1.0, high=5.0),
        damage("far", distance=0.9, map_drop=-0.1, low=-1.0, high=1.0),
        damage("worst", distance=0.1, map_drop=3.0, low=2.0, high=4.0),
    ]
    assert [d.block for d in ordered(found)] == ["worst", "small", "far", "noise"]
    plain = [damage("a", distance=0.1), damage("b", distance=0.2)]
    assert [d.block for d in ordered(plain)] == ["b", "a"]


def test_images_are_taken_at_even_distances() -> None:
    assert evenly_spaced(list(range(10)), 5) == [0, 2, 4, 6, 8]
    assert evenly_spaced([1, 2], 5) == [1, 2]
    assert evenly_spaced([1, 2], None) == [1, 2]
