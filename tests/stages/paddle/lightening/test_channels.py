"""Channels are removed together, nothing else changes, and what is no use is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stages.paddle.models.test_models import compose
from tests.stages.workers import probed

pytestmark = pytest.mark.slow
MODELS = ("ppyoloe_tiny", "ppyoloe_s", "ppyoloe_plus_t")
FORMS = ["ppyoloe_tiny folded", "ppyoloe_tiny apart", "ppyoloe_s apart", "ppyoloe_plus_t folded"]
CRITERIA = ("magnitude", "activation", "effect")
ANCHORS = 64 + 16 + 4  # of an image of 64x64


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("channels")
    given = {name: compose(name) for name in MODELS}
    result: dict[str, Any] = probed(
        "tests.stages.paddle.lightening.probe_channels", str(folder), given=given, timeout=900
    )
    return result


@pytest.mark.parametrize("form", FORMS)
def test_removed_channels_are_channels_at_zero(probe: dict[str, Any], form: str) -> None:
    got = probe["exact"][form]
    assert got["varies"] > 1e-4, "outputs that are all the same would show nothing"
    assert got["difference"] < 1e-5
    assert got["macs"][1] < 0.55 * got["macs"][0]


@pytest.mark.parametrize("form", FORMS)
def test_every_layer_fits_the_next(probe: dict[str, Any], form: str) -> None:
    got = probe["exact"][form]
    assert got["consistent"] and got["convolutions"] > 50
    assert got["shapes"] == [[1, ANCHORS, 4], [1, 3, ANCHORS]], "classes and boxes are never removed"


@pytest.mark.parametrize("form", FORMS)
def test_groups_keep_multiples_and_a_floor(probe: dict[str, Any], form: str) -> None:
    groups = probe["exact"][form]["groups"]
    changed = [(before, after) for _, before, after in groups if after != before]
    assert len(changed) > 20
    assert all(after % 16 == 0 and 16 <= after < before for before, after in changed)
    assert all(after == before for _, before, after in groups if before <= 16)


@pytest.mark.parametrize("form", FORMS)
def test_what_a_group_saves_is_part_of_what_all_save(probe: dict[str, Any], form: str) -> None:
    got = probe["exact"][form]
    (before, after), (whole, left) = got["group_macs"], got["macs"]
    assert 0.8 * whole < before < whole, "few channels belong to no group: classes, boxes, their expectation"
    assert 0 < before - after <= whole - left


@pytest.mark.parametrize("form", FORMS)
def test_the_smaller_program_becomes_onnx(probe: dict[str, Any], form: str) -> None:
    assert probe["exact"][form]["onnx_difference"] < 1e-4


def test_a_fraction_of_zero_changes_no_bit(probe: dict[str, Any]) -> None:
    assert probe["nothing"] == {"program": True, "parameters": True, "outputs": True, "macs": True}


def test_what_cannot_be_is_refused_with_what_to_do(probe: dict[str, Any]) -> None:
    got = probe["refusals"]
    assert "compression.prune=1: give a fraction of the channels, from 0 to below 1" in got["fraction"]
    assert "luck is unknown; choose one of magnitude, activation, effect" in got["criterion"]
    assert "somewhere is unknown; choose one of uniform, ranked" in got["criterion"]
    assert "give some unlabeled ones" in got["images"]
    assert "nothing can be removed" in got["nothing"] and "give a larger fraction, or leave it out" in got["nothing"]


def test_branches_of_every_kind_go_together(probe: dict[str, Any]) -> None:
    got = probe["toy"]
    assert got["groups"] == [
        [["behind"], 16, 8],
        [["first", "attention"], 16, 8],  # with the depthwise convolution behind it
        [["second", "attention"], 24, 16],
        [["third", "residual"], 32, 16],
    ], "what an unknown operator or a grouped convolution reads is held, and the output"
    assert got["difference"] < 1e-5


def test_a_limit_of_the_cost_is_held_or_refused(probe: dict[str, Any]) -> None:
    got = probe["costs"]
    for limit, reached in (got["work"], got["time"]):
        assert 0.5 * limit < reached <= limit
    assert "at the least, more than 1; raise the limit, or take a smaller model" in got["unreachable"]
    assert "none of the convolutions has been timed" in got["untimed"]


def test_time_counts_whole_blocks_and_what_was_not_timed_at_the_mean(probe: dict[str, Any]) -> None:
    layers, milliseconds = probe["costs"]["milliseconds"]
    assert layers < milliseconds < 2 * layers
    assert probe["costs"]["blocks"] == [1.0, 1.0]


def test_work_counts_what_kernels_compute(probe: dict[str, Any]) -> None:
    counted = probe["costs"]["counted"]  # of a 1x1 convolution, for each position
    assert counted == {"16 24": 16 * 32, "16 32": 16 * 32, "13 32": 16 * 32, "12 32": 12 * 32}


def test_copies_take_over_from_channels_that_go(probe: dict[str, Any]) -> None:
    got = probe["copies"]
    assert got["plain"] > 0.02 and got["refit"] < 1e-3


@pytest.mark.parametrize("criterion", CRITERIA)
def test_taking_over_changes_what_is_computed_and_not_how_much(probe: dict[str, Any], criterion: str) -> None:
    plain, refitted = (probe["chosen"][f"{criterion} uniform{end}"] for end in ("", " refit"))
    assert refitted["difference"] != plain["difference"]
    assert refitted["macs"] == plain["macs"] and refitted["groups"] == plain["groups"]


@pytest.mark.parametrize("criterion", CRITERIA)
def test_a_ranking_costs_no_more_than_the_same_share_of_all(probe: dict[str, Any], criterion: str) -> None:
    chosen = probe["chosen"]
    same, ranked = chosen[f"{criterion} uniform"], chosen[f"{criterion} ranked refit"]
    assert ranked["work"] <= same["work"] and same["macs"][1] < same["macs"][0]
    shares = {round(after / before, 2) for before, after in ranked["groups"]}
    assert len(shares) > 3, "groups lose different shares"
    assert all(after >= min(before, 16) and after >= 0.25 * before for before, after in ranked["groups"])
