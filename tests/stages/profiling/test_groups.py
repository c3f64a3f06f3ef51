"""What a layer is, from the words of every runtime and from what stands before and behind it."""

from __future__ import annotations

import pytest

from stages.backends.profiled import Profiled, ProfiledLayer
from stages.profiling.groups import GROUPS, groups_of


def layer(name: str, kind: str, *reads: str) -> ProfiledLayer:
    return ProfiledLayer(name, kind, [1.0], reads, [name])


@pytest.mark.parametrize(
    ("kind", "group"),
    [
        ("QLinearConv", "convolutions"), ("ConvTranspose", "convolutions"), ("CaskConvolution", "convolutions"),
        ("MatMulInteger", "convolutions"), ("FullyConnected", "convolutions"), ("Convert", "layout"),
        ("QuickGelu", "activations"), ("QLinearSigmoid", "activations"), ("Softmax", "activations"),
        ("PointWiseV2", "activations"), ("QLinearAdd", "elementwise"), ("GlobalAveragePool", "elementwise"),
        ("Eltwise", "elementwise"), ("Mul", "elementwise"), ("QLinearConcat", "joins"), ("Resize", "joins"),
        ("Interpolate", "joins"), ("Reorder", "layout"), ("Reformat", "layout"), ("ReorderOutput", "layout"),
        ("QuantizeLinear", "quantize"), ("FakeQuantize", "quantize"), ("Sin", "other"), ("", "other"),
    ],
)  # fmt: skip
def test_a_runtimes_word_says_what_a_layer_does(kind: str, group: str) -> None:
    before_a_convolution = Profiled([layer("x", kind), layer("y", "Conv", "x"), layer("z", "Conv", "y")], ["z"])
    assert groups_of(before_a_convolution)[0] == group and group in GROUPS


def detector(*more: ProfiledLayer, ends: tuple[str, ...] = ("boxes", "scores")) -> dict[str, str]:
    """A body, a head of two branches, and the decoding of boxes as a distribution over their edges."""
    layers = [
        layer("stem", "Conv", "image"),
        layer("gate", "Sigmoid", "stem"),
        layer("silu", "Mul", "stem", "gate"),
        layer("skip", "Add", "silu", "stem"),
        layer("cls", "Conv", "skip"),
        layer("reg", "Conv", "skip"),
        layer("act", "Relu", "reg"),
        layer("reg2", "Conv", "act"),
        layer("edges", "Softmax", "reg2"),
        layer("project", "Conv", "edges"),
        layer("boxes", "Concat", "project"),
        layer("scores", "Sigmoid", "cls"),
        *more,
    ]
    return dict(zip([one.name for one in layers], groups_of(Profiled(layers, list(ends))), strict=True))


def test_head_and_tail_go_by_what_a_layer_serves() -> None:
    found = detector()
    assert found["stem"] == "convolutions" and found["skip"] == "elementwise"
    assert {name for name, group in found.items() if group == "head"} == {"cls", "reg", "act", "reg2"}
    assert {name for name, group in found.items() if group == "tail"} == {"edges", "project", "boxes", "scores"}


def test_a_product_with_a_sigmoid_is_an_activation() -> None:
    assert detector()["silu"] == detector()["gate"] == "activations"


def test_with_nms_inside_the_head_is_found_before_it() -> None:
    found = detector(
        layer("kept", "NonMaxSuppression", "boxes", "scores"),
        layer("rows", "Gather", "kept", "boxes"),
        ends=("num_dets", "rows", "labels"),
    )
    assert {name for name, group in found.items() if group == "head"} == {"cls", "reg", "act", "reg2"}
    assert found["kept"] == found["rows"] == "tail"


def test_without_two_ends_there_is_no_head_and_without_convolutions_no_tail() -> None:
    assert "head" not in detector(ends=("boxes",)).values() and detector(ends=("boxes",))["cls"] == "convolutions"
    plain = Profiled([layer("x", "Relu", "image"), layer("y", "Add", "x")], ["y"])
    assert groups_of(plain) == ["activations", "elementwise"]
