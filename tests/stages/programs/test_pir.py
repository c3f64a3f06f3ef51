"""Paddle 3's program file: what is read of it, and one clear line for whatever is wrong with it."""

from __future__ import annotations

import copy
import gzip
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.errors import WeightsError
from stages.programs.pir import NEWEST, Operator, Value, read_program
from tests.conftest import ROOT
from tests.stages.programs.writing import attribute, operator, parameter, program, typed

DEMO = ROOT / "tests" / "stages" / "paddle" / "pir" / "ppyoloe_tiny.json.gz"
SMALL = [
    parameter(1, "w", np.zeros((4, 3, 1, 1), np.float32)),
    operator("1.data", [], {2: typed("float32", [-1, 3, 8, 8])}, {"name": "image"}),
    operator("1.conv2d", [2, 1], {3: typed("float32", [-1, 4, 8, 8])}, {"strides": [1, 1], "data_format": "NCHW"}),
    operator("1.fetch", [3], {4: typed("float32", [-1, 4, 8, 8])}, {"col": 0}),
]


def read(tmp_path: Path, content: Any) -> list[Operator]:
    file = tmp_path / "inference.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_program(file)


def refusal(tmp_path: Path, content: Any) -> str:
    with pytest.raises(WeightsError) as caught:
        read(tmp_path, content)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


def test_operators_come_with_types_and_plain_attributes(tmp_path: Path) -> None:
    found = read(tmp_path, program(SMALL))
    assert [o.kind for o in found] == ["p", "data", "conv2d", "fetch"]
    assert found[0] == Operator("p", (), (Value(1, "float32", (4, 3, 1, 1)),), {"name": "w"})
    assert found[2].inputs == (2, 1)
    assert found[2].attributes == {"strides": [1, 1], "data_format": "NCHW"}


def test_lists_scalars_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    vector = {"#": "0.t_vec", "D": [typed("int64", [2]), typed("float32", [3])]}
    own = operator("1.split", [], {1: vector})
    own["A"] = [
        {"N": "scalar", "AT": {"#": "1.a_scalar", "D": ["float32", 0.5]}},
        {"N": "far", "AT": {"#": "0.a_f32", "VD": "-INF"}},
        {"N": "none", "AT": {"#": "0.a_f64", "VD": "NaN"}},
    ]
    (found,) = read(tmp_path, program([own]))
    assert found.outputs[0].parts == (Value(0, "int64", (2,)), Value(0, "float32", (3,)))
    assert found.attributes["scalar"] == 0.5 and found.attributes["far"] == -math.inf
    assert math.isnan(found.attributes["none"])


def test_the_demos_export_of_paddle_3_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, gzip.decompress(DEMO.read_bytes()).decode())
    kinds = [o.kind for o in found]
    assert (kinds.count("p"), kinds.count("conv2d"), kinds.count("multiclass_nms3")) == (335, 86, 1)
    assert "builtin.split" in kinds


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{}", "'base_code' is missing"),
        ("[]", "stands where an object"),
        ("", "no program of Paddle 3"),
        ("\x00\x01", "no program of Paddle 3"),
        ("[" * 100_000, "nested too deeply"),
        ({"base_code": {"magic": "pir"}, "program": {}}, "'version' is missing"),
        ({"base_code": {"magic": "onnx", "version": 1}, "program": {}}, "does not say that it is one"),
        ({"base_code": {"magic": "pir", "version": True}, "program": {}}, "'version' is True where a int belongs"),
        ({"base_code": {"magic": "pir", "version": 1}, "program": {"regions": []}}, "0 regions where one"),
        (program(SMALL[::-1]), "uses value 3, which nothing before it computes"),
        (program([*SMALL, SMALL[0]]), "value 1 is computed twice"),
        (program([operator("1.relu", [7], {8: typed("float32", [1])})]), "uses value 7"),
        (program([operator("1.relu", [8], {8: typed("float32", [1])})]), "relu uses value 8"),
        (program([operator("1.data", [], {1: typed("float32", [1 << 40])})]), "has the shape"),
        (program([operator("1.data", [], {1: typed("float32", [-2])})]), "has the shape [-2]"),
        (program(SMALL, version=NEWEST + 1), f"knows it up to {NEWEST}"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line(content: Any, says: str, tmp_path: Path) -> None:
    assert says in refusal(tmp_path, content)


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    text = json.dumps(program(SMALL))
    for length in range(0, len(text) - 1, 7):
        assert "no program of Paddle 3" in refusal(tmp_path, text[:length])


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Every container and key (or index) of a tree."""
    for key, value in list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree)):
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from places(value)


@pytest.mark.parametrize("instead", [None, -1, 1 << 70, "x", [], {}, [None], {"#": "p"}, 0.5, True])
def test_a_wrong_value_anywhere_is_read_or_refused_in_one_line(instead: Any, tmp_path: Path) -> None:
    refused, count = 0, sum(1 for _ in places(program(SMALL)))
    for i in range(count):
        tree = copy.deepcopy(program(SMALL))
        holder, key = list(places(tree))[i]
        holder[key] = instead
        try:
            assert read(tmp_path, tree) is not None
        except WeightsError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 600
    assert refused > count // 4


def test_an_attribute_is_written_as_it_is_read(tmp_path: Path) -> None:
    for value in (3, 0.25, "SAME", False, [1, 2], [[1.5], ["a"]]):
        own = operator("1.x", [], {1: typed("bool", [])})
        own["A"] = [{"N": "own", "AT": attribute(value)}]
        assert read(tmp_path, program([own]))[0].attributes == {"own": value}
