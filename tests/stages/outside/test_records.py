"""JSON that is read back: taken if it has the shape that its reader expects, else one line on file and field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from stages.errors import InputError, StoreError
from stages.outside import records

if TYPE_CHECKING:
    from typing_extensions import NotRequired


class Inner(TypedDict):
    name: str
    value: float | None


class Outer(TypedDict):
    count: int
    items: list[Inner]
    by_name: dict[str, int]
    flag: NotRequired[bool]


class More(Outer):
    more: str | int


@dataclass
class Made:
    a: int
    where: Path
    b: list[str] = field(default_factory=list)


FINE: dict[str, Any] = {"count": 1, "items": [{"name": "a", "value": 2, "new": {}}], "by_name": {"x": 3}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"count": "1"}, "count is '1' where a whole number belongs"),
        ({"count": True}, "count is True where a whole number belongs"),
        ({"count": 1.5}, "count is 1.5 where a whole number belongs"),
        ({"items": {}}, "items is {} where a list belongs"),
        ({"items": [3]}, r"items\[0\] is 3 where an object belongs"),
        ({"items": [{"value": None}]}, r"items\[0\].name is missing"),
        ({"items": [{"name": "a", "value": "x"}]}, r"items\[0\].value is 'x' where a number belongs"),
        ({"by_name": {"x": None}}, "by_name.x is None where a whole number belongs"),
        ({"flag": 0}, "flag is 0 where true or false belongs"),
        ({"more": None}, "more is None where a whole number belongs"),
    ],
)
def test_a_field_that_does_not_fit_is_named(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**FINE, "more": "m", **change}))
    with pytest.raises(StoreError, match=f"record.json cannot be read: {said}"):
        records.read(path, More, raises=StoreError)


def test_what_fits_is_returned_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**FINE, "more": 4, "flag": True, "unknown": [1]}))
    assert records.read(path, More) == {**FINE, "more": 4, "flag": True, "unknown": [1]}
    with pytest.raises(FileNotFoundError):
        records.read(tmp_path / "none.json")


def test_of_another_version_keys_may_be_missing_and_never_wrong() -> None:
    assert records.parse('{"count": 1}', "f", Outer, lenient=True) == {"count": 1}
    with pytest.raises(InputError, match="count"):
        records.parse('{"count": "1"}', "f", Outer, lenient=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 100 + "1" + "}" * 100, "nested more than"),
        ('{"a": ' + "9" * 5000 + "}", "too large"),
        ('{"a": 9223372036854775809}', "too large"),
        (json.dumps({"a": "x" * 2_000_000}), "characters"),
        (json.dumps({"x" * 2_000_000: 1}), "characters"),
        ("[1]", "where an object belongs"),
        ("null", "where an object belongs"),
        (b'{"a": "\xff"}', "utf-8"),
        (b"\x00", "Expecting|utf"),
        ('{"a": 1} x', "Extra data"),
        ("x" * 2000, "more than 1000 bytes"),
    ],
)
def test_nonsense_is_one_line(text: str | bytes, said: str) -> None:
    most = 1000 if said.startswith("more than 1000") else records.MOST_BYTES
    with pytest.raises(InputError, match=said) as refused:
        records.parse(text, "the file", most=most)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_a_dataclass_is_made_of_what_it_knows() -> None:
    assert records.made(Made, {"a": 1, "where": "x"}, "f") == Made(1, "x")  # type: ignore[arg-type]
    for content, said in (
        ({"a": 1}, "where is missing"),
        ({"a": "1", "where": "x"}, "a is '1'"),
        ({"a": 1, "where": "x", "c": 2}, "c is not known"),
        ({"a": 1, "where": "x", "b": [1]}, r"b\[0\] is 1"),
    ):
        with pytest.raises(InputError, match=f"f cannot be read: {said}"):
            records.made(Made, content, "f")
