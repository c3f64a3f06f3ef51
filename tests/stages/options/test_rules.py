"""Rules hold what they say, and every option of every dataclass states its rule and meaning."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import OmegaConf
from pydantic import TypeAdapter

import pipelines.config.options
import stages.options
from pipelines.config.schema import PipelineConfig
from stages import backends
from stages.options.rules import (
    ALL_DIFFERENT,
    DOC,
    NOT_EMPTY,
    RULE,
    Rule,
    above,
    at_least,
    at_least_or_zero,
    between,
    from_to_below,
    like,
    matches,
    multiple_of,
    numbers,
    one_of,
    option,
    part,
    some_of,
)
from stages.options.types import alternatives, field_types


def dataclasses_of_options() -> Iterator[type]:
    """Those of the stages, of the pipelines, of each backend, and the whole config."""
    for package in (stages.options, pipelines.config.options):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for kind in vars(importlib.import_module(module.name)).values():
                if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == module.name:
                    yield kind
    yield from (backends.get(name).Options for name in backends.names())
    yield PipelineConfig


PLUMBING = {"Rule", "Problem"}
KINDS = sorted({k for k in dataclasses_of_options() if k.__name__ not in PLUMBING}, key=lambda k: k.__qualname__)


def is_number(kind: Any) -> bool:
    members = {member for a in alternatives(kind) for member in (a, *typing.get_args(a))}
    return bool(members & {int, float})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_option_says_what_it_means_and_every_number_has_a_rule(kind: type) -> None:
    types = field_types(kind)
    for f in dataclasses.fields(kind):
        assert DOC in f.metadata, f"{f.name}: make it with option() or part()"
        if dataclasses.is_dataclass(types[f.name]):
            continue
        assert f.metadata[DOC], f"{f.name}: what does it mean?"
        if is_number(types[f.name]):
            assert isinstance(f.metadata[RULE], Rule), f"{f.name}: which numbers are right?"


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (at_least(1), [1, 2.5], [0, -1, "x"]),
        (above(0), [1e-9], [0, -1]),
        (between(0, 1), [0, 0.5, 1], [-0.1, 1.1]),
        (from_to_below(0, 1), [0, 0.999], [1, -0.1]),
        (at_least_or_zero(100, "for none"), [0, 100], [1, 99, -1]),
        (multiple_of(32, "why"), [32, 96], [0, 33, -32]),
        (numbers(2, at_least(1)), [[1, 2]], [[1], [0, 1], [1, 2, 3], []]),
        (one_of("a", "b"), ["a"], ["c", "A", ""]),
        (some_of(lambda: ("ab", "cd"), "thing"), [[], ["ab", "cd"]], [["x"], ["ab", "x"]]),
        (some_of(lambda: ("ab",), "thing", least=1), [["ab"]], [[], ["x"]]),
        (matches("[a-z]+", "it must be letters"), ["abc"], ["", "a1", "1"]),
        (NOT_EMPTY, [["x"]], [[]]),
        (ALL_DIFFERENT, [["x", "y"]], [[], ["x", "x"]]),
    ],
)
def test_a_rule_holds_what_it_says(rule: Rule, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if rule.complaint(value)] == []
    assert [value for value in bad if not rule.complaint(value)] == []
    assert rule.text.startswith("it must ")


def test_closed_lists_name_what_may_have_been_meant() -> None:
    said = one_of("qat_distill", "ptq").complaint("qat")
    assert said == "'qat' does not fit; it must be one of qat_distill, ptq; did you mean qat_distill?"
    some = some_of(lambda: ("fold_bias", "float_tail"), "pass")
    expected = "there is no pass fold_bia; did you mean fold_bias? (there are fold_bias, float_tail)"
    assert some.complaint(["float_tail", "fold_bia"]) == expected
    many = some_of(lambda: [f"pass_{i:02}" for i in range(20)], "pass")
    assert many.complaint(["pass_0"]) == "there is no pass pass_0; did you mean pass_00, pass_01 or pass_02?"


def test_what_may_be_a_secret_is_not_repeated() -> None:
    said = matches("[A-Z_]+", "it must be a name", quiet=True).complaint("hunter2")
    assert said == "it must be a name"


@dataclasses.dataclass
class Inner:
    """Inside."""

    names: list[str] = option(["a"], doc="some")


@dataclasses.dataclass
class Outer:
    """Outside."""

    count: int = option(1, at_least(1), "how many")
    limits: dict[str, float] = option({"x": 1.0}, doc="by name")
    inner: Inner = part(Inner)


def test_omegaconf_and_pydantic_read_such_fields_as_plain_ones() -> None:
    assert OmegaConf.to_container(OmegaConf.structured(Outer)) == dataclasses.asdict(Outer())
    read = TypeAdapter(Outer).validate_python({"count": 3, "inner": {"names": ["b"]}})
    assert read == Outer(count=3, inner=Inner(["b"]))
    one, other = Outer(), Outer()
    one.inner.names.append("b")
    one.limits["y"] = 2.0
    assert other == Outer() != one


def test_an_option_can_be_stated_again() -> None:
    @dataclasses.dataclass
    class Again:
        count: int = like(Outer, "count", default=5)
        names: list[str] = like(Inner, "names")

    again, first = (dataclasses.fields(kind)[0].metadata for kind in (Again, Outer))
    assert (again[RULE], again[DOC]) == (first[RULE], first[DOC])
    assert (Again().count, Again().names) == (5, ["a"]) and Again().names is not Again().names
