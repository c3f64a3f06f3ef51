"""The table of published models is that of conf/model, and names the model that a file is of."""

from __future__ import annotations

import pytest

from stages.detection.published import (
    AS_THEY_ARE,
    IMAGENET,
    PUBLISHED,
    choice,
    of_checkpoint,
    of_export,
    of_the_other_family,
    remark_on_objects365,
    same,
)
from stages.options.model import ModelOptions
from tests.stages.paddle.models.test_models import NAMES, compose


@pytest.mark.parametrize("name", NAMES)
def test_the_table_is_that_of_the_configs(name: str) -> None:
    own, options = PUBLISHED[name], ModelOptions(**compose(name))
    architecture = options.architecture
    backbone = architecture["CSPResNet"]
    assert own.plus == backbone.get("use_alpha", False)
    assert own.attended == (architecture["PPYOLOEHead"].get("attn_conv", "convbn") is not None)
    assert own.stem == round(backbone["channels"][0] * architecture["width_mult"]) // 2
    assert own.blocks == tuple(max(round(n * architecture["depth_mult"]), 1) for n in backbone["layers"])
    assert (tuple(options.mean), tuple(options.std)) == (AS_THEY_ARE if own.plus else IMAGENET)


def test_the_table_has_no_other_models() -> None:
    assert sorted(PUBLISHED) == NAMES


def checkpoint(name: str) -> dict[str, tuple[int, ...]]:
    """A few parameters of a model's checkpoint, with those that tell it from others."""
    own = PUBLISHED[name]
    shapes: dict[str, tuple[int, ...]] = {"backbone.stem.conv1.conv.weight": (own.stem, 3, 3, 3)}
    for stage, count in enumerate(own.blocks):
        for i in range(count):
            block = f"backbone.stages.{stage}.blocks.{i}.conv2"
            shapes[f"{block}.conv1.conv.weight"] = (8, 8, 3, 3)
            if own.plus:
                shapes[f"{block}.alpha"] = (1,)
    if own.attended:
        shapes["yolo_head.stem_cls.0.conv.conv.weight"] = (8, 8, 1, 1)
    return {**shapes, "neck.fpn_stages.0.0.conv1.conv.weight": (8, 8, 1, 1)}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_checkpoint_is_of_one_model_at_any_size_of_its_images(name: str) -> None:
    assert {found.removesuffix("_320") for found in of_checkpoint(checkpoint(name))} == {name.removesuffix("_320")}


def test_alpha_in_the_neck_makes_no_plus() -> None:
    neck = {"neck.fpn_stages.0.0.convs.0.conv2.alpha": (1,)}
    assert of_checkpoint({**checkpoint("ppyoloe_s"), **neck}) == ["ppyoloe_s"]


def test_what_is_no_detectors_is_of_none() -> None:
    assert of_checkpoint({}) == of_checkpoint({"fc.weight": (3, 4), "backbone.stages.x.blocks.y": ()}) == []


def test_an_export_is_of_a_size_and_of_the_family_that_its_images_tell() -> None:
    assert of_export(16, 84, plus=True) == ["ppyoloe_plus_s"]
    assert of_export(16, 84, plus=False) == ["ppyoloe_s"]
    assert of_export(12, 84, plus=False) == ["ppyoloe_plus_t", "ppyoloe_plus_t_320"]
    assert of_export(12, 78, plus=True) == ["ppyoloe_plus_t_relu", "ppyoloe_plus_t_relu_320"]
    assert of_export(7, 84, plus=False) == []
    assert choice(["a", "b"]) == "model=a or model=b"


def test_normalization_tells_the_families_apart() -> None:
    zero, one = [0.0] * 3, [1.0] * 3
    mean, std = (list(v) for v in IMAGENET)
    assert of_the_other_family("ppyoloe_m", zero, one, True) == ["ppyoloe_plus_m"]
    assert of_the_other_family("ppyoloe_plus_l", mean, std, True) == ["ppyoloe_l"]
    assert of_the_other_family("ppyoloe_m", mean, std, True) == []
    assert of_the_other_family("ppyoloe_plus_t", mean, std, True) == []  # there is no such PP-YOLOE
    assert of_the_other_family("ppyoloe_m", zero, one, False) == []  # the graph normalizes
    assert of_the_other_family("ppyoloe_m", [0.5] * 3, one, True) == []
    assert of_the_other_family("mine", zero, one, True) == []


def test_weights_for_objects365_may_be_a_plus_for_all_that() -> None:
    said = remark_on_objects365(365, *IMAGENET)
    assert "365 classes" in said and "model.architecture.CSPResNet.use_alpha=false" in said
    assert remark_on_objects365(365, *AS_THEY_ARE) == remark_on_objects365(80, *IMAGENET) == ""


def test_numbers_are_equal_as_a_32_bit_float_holds_them() -> None:
    assert same([0.485, 1], (0.4850000143, 1.0)) and not same([0.485], [0.486]) and not same([1], [1, 2])
    assert same("cubic", "cubic") and not same("cubic", "area") and not same(None, 0)
