"""What `make bench-search` says, on configs that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks import search


def config(goal: str, value: float, drop: float) -> search.Config:
    """One whose drop is the same whichever images are drawn."""
    return search.Config({goal: value, "drop": drop}, np.full(100, -drop))


def configs(*pairs: tuple[float, float]) -> list[search.Config]:
    return [config("size", size, drop) for size, drop in pairs]


GRID = configs((2.0, 0.9), (2.2, 0.4), (2.3, 0.1), (2.4, 0.05))


def test_a_search_is_as_good_if_it_has_the_smallest_drop_and_the_smallest_engine_that_holds() -> None:
    said = search.result(GRID, [GRID[1:3], configs((2.2, 0.4), (2.4, 0.05), (2.0, 0.9))], "size", 0.5)
    assert said == {
        "as_good": True,
        "good": [True, True],
        "apart": [[0.05, 0.05], [0.0, 0.0]],
        "worst_drop": 0.05,
        "worst_ratio": 0.0,
        "trials": [2, 3],
        "grid": 4,
    }


def test_one_that_misses_either_is_not() -> None:
    said = search.result(GRID, [GRID[1:2], GRID[2:]], "size", 0.5)
    assert said["as_good"] is False and said["good"] == [False, False]
    assert said["worst_drop"] == 0.35 and said["worst_ratio"] == pytest.approx(0.0455, abs=1e-4)


def test_of_a_speed_up_more_is_better() -> None:
    grid = [config("speedup", 2.0, 0.1), config("speedup", 3.0, 0.4)]
    assert search.result(grid, [grid[:1]], "speedup", 0.5)["worst_ratio"] == pytest.approx(0.3333, abs=1e-4)
    assert search.result(grid, [grid], "speedup", 0.5)["as_good"]


def test_the_grid_has_36_configs_and_the_search_the_same_space() -> None:
    count = 1
    for values in search.AXES.values():
        count *= len(values)
    assert count == 36
    assert search.space("choice({})")[0] == "compression.ptq_algo=choice(avg,hist,KL,mse)"
    assert search.space("{}")[2].startswith("compression.skip_tensor_list=[],[conv2d_0.w_0],[conv2d_88.w_0,")


def test_a_drop_that_the_images_cannot_tell_apart_is_as_good() -> None:
    shared = np.random.default_rng(0).normal(0, 1.0, 2000)  # which images were drawn moves all configs alike

    def drawn(drop: float, own: float, seed: int) -> search.Config:
        noise = np.random.default_rng(seed).normal(0, own, 2000)
        return search.Config({"size": 2.0, "drop": drop}, shared - drop + noise)

    best = drawn(-0.8, 0.2, 1)
    same, worse = drawn(-0.5, 0.2, 2), drawn(0.4, 0.2, 3)
    said = search.result([best, same, worse], [[same], [worse]], "size", 0.5)
    assert said["good"] == [True, False]
    (low, high), (least, _) = said["apart"]
    assert low < 0 < 0.3 < high < 1 and least > 0.5
