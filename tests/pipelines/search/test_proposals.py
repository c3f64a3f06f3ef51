"""Where a search begins, and what is left of a space."""

from __future__ import annotations

from collections import Counter

from pipelines.config.space import Axis
from pipelines.search.proposals import key, spread, startup, unseen

AXES = [
    Axis("algo", ("a", "b", "c", "d")),
    Axis("images", low=8, high=24, step=8, whole=True),
    Axis("lr", low=1, high=9),
]


def test_every_choice_comes_up_as_often_as_any_other_and_an_interval_is_covered() -> None:
    found = spread(AXES, 12, seed=3)
    assert len(found) == 12
    assert set(Counter(params["algo"] for params in found).values()) == {3}
    assert Counter(params["images"] for params in found) == {8: 4, 16: 4, 24: 4}
    assert sorted(int((float(params["lr"]) - 1) / 8 * 12) for params in found) == list(range(12))


def test_the_seed_decides_and_no_config_comes_twice() -> None:
    small = [Axis("algo", ("a", "b")), Axis("n", low=1, high=2, step=1, whole=True)]
    assert spread(AXES, 6, seed=1) == spread(AXES, 6, seed=1) != spread(AXES, 6, seed=2)
    found = [key(small, params) for params in spread(small, 8, seed=0)]
    assert len(found) == len(set(found)) <= 4


def test_how_many_trials_are_spread() -> None:
    assert startup(AXES, 14) == 5  # a third
    assert startup([Axis("a", tuple("abcdef"))], 14) == 6  # each choice once
    assert startup([Axis("a", tuple("abcdefghij"))], 14) == 7  # half at most
    assert startup(AXES, 1) == 1


def test_what_was_not_tried_yet() -> None:
    small = [Axis("algo", ("a", "b")), Axis("n", low=1, high=3, step=1, whole=True)]
    seen = set()
    while (params := unseen(small, seen, seed=len(seen))) is not None:
        assert key(small, params) not in seen
        seen.add(key(small, params))
    assert len(seen) == 6
    assert unseen(AXES, set(), seed=0) is None  # an interval has no end of values
    assert unseen([Axis("n", low=0, high=999, step=1, whole=True)] * 3, set(), seed=0) is None  # nobody lists them
