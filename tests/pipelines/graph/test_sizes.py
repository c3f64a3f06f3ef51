"""The search for a model and an input size, with numbers in place of engines."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.graph.sizes import CLOSE, Candidate, Search, Timing, candidates
from stages.options.model import ModelOptions
from tests.stages.paddle.models.test_models import compose

NAMES = ("ppyoloe_tiny", "ppyoloe_s", "ppyoloe_m", "ppyoloe_plus_t_320", "ppyoloe_x")
MODELS = {name: ModelOptions(**compose(name)) for name in NAMES}
SIDES = list(range(256, 641, 32))


def ordered() -> list[Candidate]:
    return candidates(MODELS, SIDES)


def searched(limit: float, ms: Callable[[Candidate], float], most: int = 8) -> Search:
    search = Search(ordered(), limit)
    search.run(lambda candidate: Timing(ms(candidate), "valid"), most)
    return search


def in_proportion(candidate: Candidate) -> float:
    return 2e-9 * candidate.work


def uneven(candidate: Candidate) -> float:
    """With what an engine costs whatever it does, and large models that use the machine better."""
    return 1.5 + 40 * (candidate.multiply_adds / 1e10) ** 0.85


def test_candidates_stand_in_order_of_work() -> None:
    found = ordered()
    assert [one.work for one in found] == sorted(one.work for one in found)
    assert len(found) == len(MODELS) * len(SIDES)
    assert (found[0].model, found[0].side) == ("ppyoloe_tiny", 256)
    assert (found[-1].model, found[-1].side) == ("ppyoloe_x", 640)


def test_a_model_that_is_another_one_by_another_name_counts_once() -> None:
    twice = {**MODELS, "same": MODELS["ppyoloe_s"]}
    assert {one.model for one in candidates(twice, SIDES)} == set(MODELS)


@pytest.mark.parametrize("ms", [in_proportion, uneven])
@pytest.mark.parametrize("limit", [5.0, 12.0, 20.0, 33.0, 80.0])
def test_a_few_engines_bracket_the_limit(limit: float, ms: Callable[[Candidate], float]) -> None:
    search = searched(limit, ms)
    best = search.best
    assert best is not None and search.bracketed
    assert ms(best) <= limit and len(search.timed) <= 6
    larger = [one for one in ordered() if one.work > CLOSE * best.work]
    assert larger and all(ms(one) > limit for one in larger)


def test_where_the_smallest_is_too_slow_one_engine_tells() -> None:
    search = searched(0.5, in_proportion)
    assert search.best is None and search.bracketed and list(search.timed) == [ordered()[0]]


def test_where_the_largest_is_fast_enough_it_is_the_answer() -> None:
    search = searched(1e6, in_proportion)
    assert search.best == ordered()[-1] and search.bracketed and len(search.timed) == 2


def test_it_stops_at_the_engines_that_may_be_built() -> None:
    search = searched(20.0, uneven, most=2)
    assert len(search.timed) == 2 and not search.bracketed


def test_what_was_not_timed_is_predicted_between_and_beyond() -> None:
    search = searched(20.0, in_proportion)
    for candidate in ordered():
        assert search.predicted(candidate) == pytest.approx(in_proportion(candidate))


def test_each_model_has_its_largest_input_that_reaches_the_limit_or_its_smallest() -> None:
    found = {one.model: (one.side, ms) for one, ms in searched(12.0, in_proportion).largest()}
    assert set(found) == set(MODELS)
    for name, (side, ms) in found.items():
        own = [one for one in ordered() if one.model == name]
        reaching = [one.side for one in own if in_proportion(one) <= 12.0]
        assert side == (max(reaching) if reaching else min(SIDES))
        assert (ms <= 12.0) == bool(reaching)
    assert found["ppyoloe_x"][1] > 12.0


def test_timings_that_do_not_grow_with_the_work_still_come_to_an_end() -> None:
    order = {one: 10.0 + (7 * number % 13) for number, one in enumerate(ordered())}
    search = searched(15.0, order.__getitem__, most=20)
    assert search.bracketed and (search.best is None or order[search.best] <= 15.0)
