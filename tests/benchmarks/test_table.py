"""What `make bench-table` says, on timings that are made up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from stages.latency.timing import Round, Series
from tests.benchmarks import table


def series(ms: float) -> Series:
    task: Any = SimpleNamespace(name="x")
    return Series(task, [Round([ms * 1e-3 * drift] * 4) for drift in (1.0, 1.02, 0.98)])


TIMINGS = {
    "ort.fp32": series(1000),
    "ort.int8": series(300),
    "openvino.fp32": series(1030),
    "openvino.bf16": series(530),
    "openvino.int8": series(305),
}
ABSENT = {"ort.bf16": "no kernels", "ort.int8_bf16": "no kernels", "openvino.int8_bf16": "no bf16"}


def test_every_cell_has_both_speedups_or_a_reason() -> None:
    found = table.result(TIMINGS, ABSENT, [0])
    assert found["ort.int8"] == 300 and found["openvino.bf16"] == 530
    assert found["over_fp32"]["openvino.int8"]["median"] == pytest.approx(1030 / 305, abs=1e-3)
    assert found["over_best_float"]["openvino.int8"] == {
        "against": "bf16",
        **dict.fromkeys(("median", "low", "high"), 1.738),
    }
    assert found["over_best_float"]["ort.int8"]["against"] == "fp32"
    assert found["ship"]["engine"] == "ort.int8" and found["ship"]["over_best_float"]["median"] == pytest.approx(1.767)
    shown = table.table(found, "m")
    assert [row[:3] for row in shown.rows] == [
        *(["ort", "FP32", "1000.00"], ["ort", "BF16", "unavailable"], ["ort", "INT8", "300.00"]),
        *(["ort", "INT8 + BF16", "unavailable"], ["openvino", "FP32", "1030.00"], ["openvino", "BF16", "530.00"]),
        *(["openvino", "INT8", "305.00"], ["openvino", "INT8 + BF16", "unavailable"]),
    ]
    assert shown.rows[6][3:] == ["3.377 (3.377 to 3.377)", "1.738 (1.738 to 1.738) that of BF16"]


def test_an_int8_engine_that_is_no_faster_is_not_shipped() -> None:
    found = table.ship({"openvino.bf16": series(300), "ort.int8": series(310)})
    assert found["engine"] == "openvino.bf16" and "ort.int8 is 0.968 times as fast as openvino.bf16" in found["why"]
    assert table.ship({"openvino.bf16": series(300)})["engine"] == "openvino.bf16"
    shaken = series(200)
    shaken.blocks[1] = Round([1.0] * 4)  # the faster one by its median, but not with certainty
    ordered = {"ort.fp32": series(300), "ort.int8": shaken, "openvino.int8": series(210)}
    assert table.ship(ordered)["engine"] == "openvino.int8"


def test_what_this_machine_cannot_fill_has_a_reason() -> None:
    found = table.reasons()
    assert {"ort.bf16", "ort.int8_bf16"} <= set(found) and not {"ort.fp32", "openvino.int8"} & set(found)
    assert ("openvino.bf16" in found) == ("openvino.int8_bf16" in found)
