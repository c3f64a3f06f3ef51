"""The passes over Paddle programs: what each changes, and by how much the outputs may move."""

from __future__ import annotations

from typing import Any

import pytest

from tests.stages.workers import probed


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = str(tmp_path_factory.mktemp("lowering"))
    result: dict[str, Any] = probed("tests.stages.paddle.probe_lowering", folder, timeout=900)
    return result


@pytest.mark.slow
def test_fold_bias_keeps_the_numbers_and_leaves_other_sums(probe: dict[str, Any]) -> None:
    got = probe["fold_bias"]
    assert got["counts"] == {"biases_folded": 2}
    assert got["kinds"].count("reshape2") == 1  # of the sum that is no bias
    assert got["largest"] > 0.1 and got["difference"] <= 1e-6


@pytest.mark.slow
def test_mean_to_pool_keeps_the_numbers_and_leaves_other_means(probe: dict[str, Any]) -> None:
    got = probe["mean_to_pool"]
    assert got["counts"] == {"means_to_pools": 2}
    assert got["kinds"].count("pool2d") == 2 and got["kinds"].count("reduce_mean") == 2
    assert got["largest"] > 0.1 and got["difference"] <= 1e-6


@pytest.mark.slow
def test_float_tail_decodes_boxes_as_if_nothing_behind_the_softmax_were_quantized(probe: dict[str, Any]) -> None:
    got = probe["float_tail"]
    assert got["counts"] == {"pairs_removed": 2, "projections_in_float": 1}
    assert got["kinds"].count("conv2d") == 2 and "reduce_sum" in got["kinds"]
    # Boxes in pixels. Eight bits had cost a fifth of one; the anchors stay as the file has them, in steps of 79.5/127.
    assert got["before"] > 0.2
    assert got["after"] <= 79.5 / 127 / 2 + 1e-3
