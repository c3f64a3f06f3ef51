"""A search space in Hydra's override syntax: what each form means, and what is refused with a way out."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.config.space import Axis, axis
from stages.errors import ConfigError, InputError


def made(text: str) -> Axis:
    return axis(OverridesParser.create().parse_override(text))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("compression.ptq_algo=choice(avg,hist)", Axis("compression.ptq_algo", ("avg", "hist"))),
        ("compression.steps=100,300", Axis("compression.steps", ("100", "300"))),
        ("model=choice(ppyoloe_s,ppyoloe_m)", Axis("model", ("ppyoloe_s", "ppyoloe_m"))),
        ("+x='a b',null", Axis("+x", ("'a b'", "null"))),
        ("compression.lr=interval(1e-5,1e-3)", Axis("compression.lr", low=1e-5, high=1e-3)),
        ("compression.lr=tag(log,interval(1e-5,1e-3))", Axis("compression.lr", low=1e-5, high=1e-3, log=True)),
        ("compression.steps=interval(100,300)", Axis("compression.steps", low=100, high=300, whole=True)),
        ("x=int(interval(1,9))", Axis("x", low=1, high=9, whole=True)),
        ("compression.steps=range(100,301,50)", Axis("compression.steps", low=100, high=300, step=50, whole=True)),
        ("x=range(4)", Axis("x", low=0, high=3, step=1, whole=True)),
        ("x=range(3,0,-1)", Axis("x", low=1, high=3, step=1, whole=True)),
        ("x=tag(log,range(1,9))", Axis("x", low=1, high=8, log=True, whole=True)),
    ],
)
def test_what_an_override_stands_for(text: str, expected: Axis) -> None:
    assert made(text) == expected


def test_a_range_of_decimals_ends_at_its_last_step() -> None:
    found = made("compression.alpha=range(0.1,0.5,0.1)")
    assert (found.size, found.whole) == (4, False)
    assert [found.override(value) for value in found.values()] == [f"compression.alpha=0.{i}" for i in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("compression.lr=interval(3,1)", "a smaller end and a larger one"),
        ("compression.lr=tag(log,interval(0,1))", "begins above 0"),
        ("compression.steps=interval(0.5,9)", "takes whole numbers"),
        ("x=range(3,3)", "the range is empty"),
        ("x=range(0,1000000000)", "more than 100000 values"),
        ("x=tag(log,range(1,9,2))", "steps of 1"),
        ("x=tag(log,choice(1,2))", "leave the tag out"),
        ("x=tag(logarithmic,interval(1,2))", "the only one is log"),
    ],
)
def test_what_is_no_axis_is_said_with_a_way_out(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        made(text)


def test_every_share_of_an_axis_is_a_value_of_it() -> None:
    shares = [i / 50 for i in range(50)]
    for text in ("x=a,b,c", "x=range(2,9,3)", "x=interval(2,8)", "x=tag(log,interval(0.01,8))", "x=int(interval(2,5))"):
        one = made(text)
        found = [one.at(share) for share in shares]
        assert len(set(found)) == (one.size or 50)
        if one.size:
            assert set(found) == set(one.values())
        assert found == sorted(found, key=lambda value: (str(value), 0) if isinstance(value, str) else ("", value))


def check(*overrides: str, multirun: bool = True) -> list[str]:
    """The problems of a command line."""
    try:
        check_command(Command(["model.random_weights=true", *overrides], multirun=multirun))
    except ConfigError as error:
        return list(error.problems)
    return []


def test_the_ends_of_an_interval_are_checked_before_anything_runs() -> None:
    search = "hydra/sweeper=optuna"
    assert check(search, "compression.lr=interval(1e-5,1e-3)", "compression.steps=interval(10,20)") == []
    (told,) = check(search, "compression.lr=interval(-1,1e-3)")
    assert told.startswith("compression.lr") and "-1" in told
    (told,) = check(search, "compression.ptq_algo=choice(avg,hits)")
    assert "hist" in told
    (told,) = check(search, "compression.ptq_algo=interval(1,2)")[:1]
    assert "compression.ptq_algo" in told


def test_a_search_and_a_plain_sweep_are_told_apart() -> None:
    (told,) = check("compression.lr=interval(1e-5,1e-3)")
    assert "hydra/sweeper=optuna" in told
    (told,) = check("hydra/sweeper=optuna", multirun=False)
    assert told.endswith("add -m")
    (told,) = check("hydra/sweeper=optuna", "compression.lr=tag(log,interval(0,1))")
    assert "begins above 0" in told
    assert check("compression.lr=1e-5,1e-4") == []
    assert "optun" in check("hydra/sweeper=optun")[0]
