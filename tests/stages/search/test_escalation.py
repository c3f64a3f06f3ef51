"""The escalation, in a workshop whose compressions are numbers and whose clock is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stages.errors import StageError
from stages.search.content import content, undecided
from stages.search.escalation import BUDGET, HOLDS, NOTHING_GAINS, TOO_SLOW, Escalation, Limits, Outcome
from stages.search.judgement import DISTANCE, MAP, Judgement
from stages.search.ledger import CORRECT, DISTILL, FLOAT, PATH, RANGES, Ledger, Step
from tests.fakes import FakeContext

SECONDS = {RANGES: 10.0, CORRECT: 20.0, DISTILL: 100.0, FLOAT: 20.0}


class Numbers:
    """A workshop: name of a step -> its drop, or a reason why it fails. Anything else loses 2 points."""

    def __init__(self, drops: dict[str, float | str], *, width: float = 0.2, images: int = 100) -> None:
        self.drops, self.width, self.images = drops, width, images
        self.unit = MAP
        self.made: list[str] = []
        self.ranked: list[str] = []
        self.correctable: Sequence[str] = ()
        self.blocks: Sequence[str] = ("a", "b", "c", "d", "e")
        self.speedups: Callable[[Step], float | None] = lambda step: None
        self.now = 0.0
        self.killed_at = ""

    def make(self, step: Step) -> Judgement:
        if step.name == self.killed_at:
            raise SystemExit(143)
        self.made.append(step.name)
        self.now += SECONDS[step.kind]
        drop = self.drops.get(step.name, 2.0)
        if isinstance(drop, str):
            raise StageError(drop)
        low, high = drop - self.width, drop + self.width
        return Judgement(drop, low, high, self.images, self.unit, self.speedups(step))

    def corrections(self) -> Sequence[str]:
        return self.correctable

    def rank(self, step: Step) -> Sequence[str]:
        self.ranked.append(step.base)
        self.now += 50.0
        return self.blocks


def limits(max_drop: float = 0.5, budget: float = 1e6, **more: float) -> Limits:
    return Limits(max_drop, budget, ("avg", "KL"), 250, int(more.get("most_steps", 1000)), more.get("min_speedup", 1.0))


def search(workshop: Numbers, context: FakeContext, asked: Limits | None = None) -> Outcome:
    ledger = Ledger.restored(context.work, context)
    return Escalation(workshop, asked or limits(), ledger, context, lambda: workshop.now).run()


def test_the_first_ranges_that_hold_end_it(context: FakeContext) -> None:
    workshop = Numbers({"ranges avg": 0.2})
    outcome = search(workshop, context)
    assert (outcome.why, outcome.best.step.name) == (HOLDS, "ranges avg")
    assert workshop.made == ["ranges avg"]
    assert "holds with ranges avg, the first step tried" in content(outcome, limits(), "onnxruntime")["outcome"]


def test_a_drop_within_the_limit_whose_bound_is_not_goes_on(context: FakeContext) -> None:
    workshop = Numbers({"ranges avg": 0.4, "ranges KL": 0.1})
    outcome = search(workshop, context)
    assert outcome.best.step.name == "ranges KL"
    assert workshop.made == ["ranges avg", "ranges KL"]


def test_corrections_are_tried_before_a_distillation_on_what_was_best(context: FakeContext) -> None:
    drops = {"ranges avg": 1.5, "ranges KL": 1.2, "ranges KL + equalize": 1.0, "ranges avg + equalize": 1.1}
    drops["ranges KL + equalize + bias_correction"] = 0.2
    workshop = Numbers(dict(drops))
    workshop.correctable = ("equalize", "bias_correction")
    outcome = search(workshop, context)
    assert workshop.made == list(drops)
    assert (outcome.why, outcome.best.step.kind) == (HOLDS, CORRECT)
    assert outcome.best.step.corrections == ("equalize", "bias_correction")


def test_a_correction_that_gains_nothing_is_left_out_of_the_next(context: FakeContext) -> None:
    workshop = Numbers({"ranges avg": 1.0, "ranges KL": 1.2, "ranges avg + bias_correction": 0.8})
    workshop.correctable = ("equalize", "bias_correction")
    outcome = search(workshop, context)
    assert workshop.made[2:5] == ["ranges avg + equalize", "ranges avg + bias_correction", "distillation 250 from avg"]
    base = "ranges avg + bias_correction"
    assert workshop.made[5] == f"float a in {base}"
    assert outcome.best.step.name == base


def test_all_ranges_are_tried_again_on_equalised_channels_that_gained(context: FakeContext) -> None:
    """An outlier makes all ranges equally bad, so the best of them then is chance."""
    drops: dict[str, float | str] = {"ranges avg": 29.1, "ranges KL": 29.0, "ranges KL + equalize": 1.1}
    drops["ranges avg + equalize"] = 0.1
    workshop = Numbers(dict(drops))
    workshop.correctable = ("equalize", "bias_correction")
    outcome = search(workshop, context)
    assert workshop.made == list(drops)
    assert (outcome.why, outcome.best.step.name) == (HOLDS, "ranges avg + equalize")


@pytest.mark.parametrize(("plain", "distilled"), [(29.0, False), (1.2, True)])
def test_it_is_not_distilled_from_where_equalised_channels_alone_made_ranges_good(
    context: FakeContext, plain: float, distilled: bool
) -> None:
    drops: dict[str, float | str] = {"ranges avg": plain, "ranges KL": plain + 0.1, "ranges avg + equalize": 0.8}
    workshop = Numbers(dict(drops))
    workshop.correctable = ("equalize",)
    search(workshop, context)
    assert ("distillation 250 from avg" in workshop.made) == distilled
    assert any("no distillation" in line for line in context.infos) != distilled
    assert "float a in ranges avg + equalize" in workshop.made


def test_corrections_are_restored_with_an_interrupted_search(context: FakeContext) -> None:
    first = Numbers({"ranges avg": 1.0})
    first.correctable = ("bias_correction",)
    first.killed_at = "distillation 250 from avg"
    with pytest.raises(SystemExit):
        search(first, context)
    second = Numbers({"distillation 250 from avg": 0.1})
    second.correctable = ("bias_correction",)
    outcome = search(second, context)
    assert second.made == ["distillation 250 from avg"]
    assert outcome.path[2].step == Step(CORRECT, "avg", corrections=("bias_correction",))


def test_distillation_starts_from_the_best_ranges_and_is_extended_while_it_gains(context: FakeContext) -> None:
    drops = {"ranges avg": 1.5, "ranges KL": 1.2, "distillation 250 from KL": 0.8, "distillation 500 from KL": 0.2}
    workshop = Numbers(dict(drops))
    outcome = search(workshop, context)
    assert (outcome.why, outcome.best.step.steps) == (HOLDS, 500)
    assert workshop.made == list(drops)
    assert not workshop.ranked


def test_distillation_is_not_longer_than_the_full_recipe(context: FakeContext) -> None:
    workshop = Numbers({"distillation 250 from avg": 1.6, "distillation 400 from avg": 1.2})
    search(workshop, context, limits(most_steps=400))
    assert [name for name in workshop.made if name.startswith("distillation")] == [
        "distillation 250 from avg",
        "distillation 400 from avg",
    ]


def test_blocks_go_to_float_one_more_at_a_time_in_the_best_step(context: FakeContext) -> None:
    base = "distillation 250 from avg"
    workshop = Numbers({base: 1.5, f"float a in {base}": 1.0, f"float a,b in {base}": 0.1})
    outcome = search(workshop, context)
    assert (outcome.why, outcome.best.step.blocks) == (HOLDS, ("a", "b"))
    assert workshop.ranked == [base]
    assert workshop.made[-2:] == [f"float a in {base}", f"float a,b in {base}"]


def test_blocks_that_gain_nothing_are_followed_by_twice_as_many_until_it_holds(context: FakeContext) -> None:
    workshop = Numbers({"ranges avg": 0.45, "float a,b,c,d,e,f,g,h,i,j,k,l,m in ranges avg": 0.1})
    workshop.blocks = "abcdefghijklmnopqrst"
    outcome = search(workshop, context)
    tried = [len(one.step.blocks) for one in outcome.path if one.step.kind == FLOAT]
    assert (outcome.why, tried) == (HOLDS, [1, 2, 3, 5, 7, 9, 13])


def test_what_nothing_would_be_left_of_in_int8_is_not_tried(context: FakeContext) -> None:
    workshop = Numbers({})
    workshop.blocks = ("a",)
    assert search(workshop, context).why == NOTHING_GAINS and not any(n.startswith("float") for n in workshop.made)


def test_it_ends_when_nothing_gains_and_keeps_the_lowest_bound(context: FakeContext) -> None:
    workshop = Numbers({"ranges KL": 1.9})
    outcome = search(workshop, context)
    assert (outcome.why, outcome.best.step.name) == (NOTHING_GAINS, "ranges KL")
    assert workshop.made == ["ranges avg", "ranges KL", "distillation 250 from KL", *(
        f"float {blocks} in ranges KL" for blocks in ("a", "a,b", "a,b,c", "a,b,c,d")
    )]  # fmt: skip
    told = content(outcome, limits(), "onnxruntime")
    assert told["met"] is False
    assert "nothing that is left gains" in told["outcome"]


def test_a_step_that_would_not_end_within_the_budget_is_not_begun(context: FakeContext) -> None:
    drops: dict[str, float | str] = {"distillation 250 from avg": 1.5, "distillation 500 from avg": 1.0}
    workshop = Numbers(drops)
    # 20 s of ranges, 100 s for 250 steps, 100 s for 250 more; the next 500 would take 200 s.
    outcome = search(workshop, context, limits(budget=400.0))
    assert (outcome.why, outcome.best.step.steps) == (BUDGET, 500)
    told = content(outcome, limits(budget=400.0), "onnxruntime")
    assert told["seconds"] == 220.0
    assert "the time is up" in told["outcome"]
    assert [round(one["at"]) for one in told["path"]] == [10, 20, 120, 220]


def test_something_comes_out_of_the_smallest_budget(context: FakeContext) -> None:
    outcome = search(Numbers({}), context, limits(budget=1.0))
    assert (outcome.why, [one.step.name for one in outcome.path]) == (BUDGET, ["ranges avg"])


def test_what_is_slower_than_asked_ends_it_and_is_not_kept(context: FakeContext) -> None:
    workshop = Numbers({"float a in ranges avg": 0.1})
    workshop.speedups = lambda step: 0.9 if step.kind == FLOAT else None
    outcome = search(workshop, context)
    assert (outcome.why, outcome.best.step.name) == (TOO_SLOW, "ranges avg")


def test_an_interrupted_search_goes_the_same_way(context: FakeContext, tmp_path: Path) -> None:
    drops: dict[str, float | str] = {"distillation 250 from avg": 1.5, "float a in distillation 250 from avg": 0.1}
    whole = search(Numbers(drops), FakeContext(tmp_path / "whole"))
    first = Numbers(drops)
    first.killed_at = "float a in distillation 250 from avg"
    with pytest.raises(SystemExit):
        search(first, context)
    second = Numbers(drops)
    outcome = search(second, context)
    assert second.made == ["float a in distillation 250 from avg"]
    assert not second.ranked
    assert outcome == whole
    assert "continues behind 5 finished steps" in context.infos[len(context.infos) - 2]


def test_the_time_before_an_interruption_counts(context: FakeContext) -> None:
    first = Numbers({})
    first.killed_at = "distillation 250 from avg"
    with pytest.raises(SystemExit):
        search(first, context, limits(budget=20.0 + 1e-3))
    assert search(Numbers({}), context, limits(budget=20.0)).why == BUDGET


def test_a_damaged_path_is_told_of_and_begun_again(context: FakeContext) -> None:
    (context.work / PATH).write_text('[{"step": 3}]')
    workshop = Numbers({"ranges avg": 0.1})
    search(workshop, context)
    assert workshop.made == ["ranges avg"]
    assert "cannot be used" in context.warnings[0]


def test_a_step_that_cannot_be_made_is_told_of_and_left_out(context: FakeContext) -> None:
    workshop = Numbers({"ranges avg": "not finite", "ranges KL": 0.1})
    outcome = search(workshop, context)
    assert outcome.best.step.name == "ranges KL"
    assert "ranges avg: not finite" in context.warnings[0]
    assert content(outcome, limits(), "onnxruntime")["path"][0]["failed"] == "not finite"


def test_a_search_in_which_nothing_could_be_made_fails(context: FakeContext) -> None:
    with pytest.raises(StageError, match="no compression could be made: b"):
        search(Numbers({"ranges avg": "a", "ranges KL": "b"}), context)


def test_without_labels_the_limit_is_one_on_the_distance(context: FakeContext) -> None:
    workshop = Numbers({"ranges avg": 0.1}, width=0.05)
    workshop.unit = DISTANCE
    told = content(search(workshop, context), limits(), "onnxruntime")
    assert (told["unit"], told["met"]) == (DISTANCE, True)
    assert "(distance of outputs)" in told["outcome"]


def test_too_few_images_are_told_with_how_many_would_do(context: FakeContext) -> None:
    outcome = search(Numbers({"ranges avg": 0.1}, width=1.6, images=20), context)
    assert outcome.why == NOTHING_GAINS
    zero, limit = undecided(outcome, limits())
    assert "20 images do not tell its drop apart from zero; about 5120 would" in zero
    assert "20 images do not show that a drop of 0.5 holds, though it looks like 0.10; about 320 would" in limit
