"""YAML of others: plain values come back, and what would run, recurse or multiply is one sentence."""

from __future__ import annotations

import pytest

from stages.outside import yaml_text
from stages.outside.yaml_text import Malformed


def bomb(level: str) -> str:
    """Nine lines, each of nine times the one before; ``level`` says how one is made of the other."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]" if "[" in level else "a0: &a0 {x0: 1, x1: 1, x2: 1}"]
    lines += [f"a{n}: &a{n} " + level.replace("NINE", ",".join([f"*a{n - 1}"] * 9)) for n in range(1, 10)]
    return "\n".join(lines)


def test_plain_values_come_back() -> None:
    text = "names: [a, b]\nnc: 2\npath: ../x\nsame: &s {k: 1.5}\nagain: *s\nmore: {<<: *s, l: null}\n"
    assert yaml_text.parse(text) == {
        "names": ["a", "b"], "nc": 2, "path": "../x", "same": {"k": 1.5}, "again": {"k": 1.5},
        "more": {"k": 1.5, "l": None},
    }  # fmt: skip
    assert yaml_text.parse("") is None and yaml_text.parse("# nothing") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [1,\nb: {", "line 2: "),
        ("a: !!python/object/apply:os.system ['touch x']", "could not determine a constructor"),
        ("[" * 100_000, "nested too deeply"),
        ("- " * 100_000 + "x", "nested too deeply"),
        ("a: &a [*a]", "leads back to itself"),
        ("a: &a {b: *a}", "leads back to itself"),
        ("a: &a {<<: *a}", "leads back to itself"),
        (bomb("[NINE]"), "aliases stand for more than"),
        (bomb("{<<: [NINE]}"), "aliases stand for more than"),
        ("a: " + "9" * 5000, "integer string conversion"),
        ("a: 2001-99-99", "month must be in"),
        ("{a: 1}: 2", "unhashable"),
        ("a: \x00", "special characters are not allowed"),
        ("a: 1\n---\nb: 2", "but found another document"),
    ],
)
def test_the_rest_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(Malformed, match=said) as caught:
        yaml_text.parse(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_how_many_values_a_file_may_stand_for_can_be_said() -> None:
    assert yaml_text.parse("[1, 2, 3]", most=4) == [1, 2, 3]
    with pytest.raises(Malformed, match="more than 3 values"):
        yaml_text.parse("[1, 2, 3]", most=3)
