"""The comparison of our images a second with others' runs and tells what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.artifacts import Precision
from stages.backends import Available, get
from stages.throughput.grid import Shape
from tests.benchmarks import throughput
from tests.stages.backends.test_base import build
from tests.stages.engines import unlabeled


def test_what_benchmark_app_prints_is_read() -> None:
    printed = "[ INFO ] Latency:\n[ INFO ]    Median:        8.36 ms\n[ INFO ] Throughput:   236.57 FPS\n"
    assert throughput.throughput_of(printed) == 236.57
    with pytest.raises(SystemExit, match="printed no throughput: nothing"):
        throughput.throughput_of("nothing")


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    middle, (low, high) = throughput.ratio([10.0, 20.0, 33.0], [10.0, 20.0, 30.0])
    assert middle == 1.0 and low < 1.03 < high
    middle, bounds = throughput.ratio([3.0, 6.0], [2.0, 4.0])
    assert (middle, bounds) == (pytest.approx(1.5), pytest.approx([1.5, 1.5]))


def test_turns_alternate_and_the_first_round_only_warms_up() -> None:
    asked: list[str] = []

    def turn(name: str) -> float:
        asked.append(name)
        return float(len(asked))

    rates = throughput.alternate({"a": lambda: turn("a"), "b": lambda: turn("b")}, 2)
    assert "".join(asked) == "baabba"
    assert rates == {"a": [3.0, 6.0], "b": [4.0, 5.0]}


@pytest.mark.slow
@pytest.mark.timing
def test_four_measurements_of_two_engines(tmp_path: Path) -> None:
    if not isinstance(get("openvino").availability(), Available):
        pytest.skip("openvino is not installed")
    names = {"ort": "onnxruntime", "openvino": "openvino"}
    engines = {name: build(backend, Precision.INT8, tmp_path / name) for name, backend in names.items()}
    images = [str(path) for path in sorted((unlabeled(tmp_path / "images").root).glob("*.png"))]
    found = throughput.measured(engines, images, Shape(1, 1), rounds=2, seconds=1.0)
    assert set(found["images_per_s"]) == {"ort", "loop", "openvino", "app"}
    assert 0.1 < found["over_benchmark_app"] < 10 and 0.1 < found["over_ort_loop"] < 10
