"""The benchmark of the backends: what it computes from timings, and that the rivals' engines run in our harness."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stages import backends
from stages.artifacts import Engine, Precision
from stages.latency.machine import Usage
from stages.latency.timing import Round, Series, Task
from tests.benchmarks import backends as bench
from tests.benchmarks.rivals import Nncf, NncfOptions, QuantizeStatic, RivalInputs, StaticOptions
from tests.fakes import FakeContext
from tests.stages.engines import SIZE, exported, unlabeled

MS = {
    "ort_fp32": 800.0, "ort_int8": 200.0, "openvino_fp32": 820.0, "openvino_int8": 100.0,
    "quantize_static_qdq": 300.0, "quantize_static_qoperator": 280.0, "nncf": 130.0,
}  # fmt: skip


def timed(ms: float) -> Series:
    """Three rounds of four runs on a machine where everything takes twice the processor time it should."""
    blocks = [Round([ms * f / 1e3] * 4, Usage(wall_s=4 * ms / 1e3, cpu_s=4 * ms / 500)) for f in (0.99, 1.0, 1.01)]
    return Series(Task("runtime", lambda i: None), blocks)


def engine(name: str, share: float) -> Engine:
    return Engine(
        root=Path(), backend=name, precision=Precision.INT8, main="", input_size=[SIZE, SIZE], batch=1,
        scale_factor=True, image_input="", scale_input="", boxes_output="", scores_output="",
        notes={"audit": {"int8_share": share}},
    )  # fmt: skip


def test_the_last_line_says_what_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    engines = {name: engine(name, 0.99 if name == "ort_int8" else 0.995) for name in MS}
    found = bench.result({name: timed(ms) for name, ms in MS.items()}, engines, [1])
    assert {f"{name}_ms": ms for name, ms in MS.items()}.items() <= found.items()
    assert found["quantize_static_ms"] == 280.0  # the better of the two
    assert found["best_speedup"] == 8.0 and found["int8_share"] == 0.99
    assert found["ort_speedup"]["median"] == found["ort_speedup"]["cpu"] == 4.0
    assert found["over_quantize_static"]["median"] == 1.4 and found["over_nncf"]["median"] == 1.3
    assert found["ort_speedup"]["low"] <= 4 <= found["ort_speedup"]["high"]
    assert found["ort_speedup"]["cpu_low"] == found["ort_speedup"]["cpu_high"] == 4.0  # every round took the same
    assert "ort_fp32" not in found["int8_shares"] and found["quiet"] is True
    assert "1600.0 ms of processor time" in capsys.readouterr().out


def test_a_busy_machine_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    slow = timed(200.0)
    slow.blocks[1] = dataclasses.replace(slow.blocks[1], samples=[0.4] * 4)
    timings = {name: timed(ms) for name, ms in MS.items()} | {"ort_int8": slow}
    assert bench.result(timings, {name: engine(name, 1.0) for name in MS}, [1])["quiet"] is False
    assert "not quiet" in capsys.readouterr().out


def test_threads_are_a_setting_of_how_an_engine_is_opened() -> None:
    one = engine("ort_int8", 1.0)
    two = bench.with_threads(one, 2)
    assert two.options["threads"] == 2 and "threads" not in one.options


@pytest.mark.slow
@pytest.mark.parametrize(
    "stage", [QuantizeStatic(StaticOptions("QDQ")), QuantizeStatic(StaticOptions("QOperator")), Nncf(NncfOptions())]
)
def test_the_rivals_engines_run_as_ours_do(stage: QuantizeStatic | Nncf, tmp_path: Path) -> None:
    if isinstance(stage, Nncf):
        pytest.importorskip("nncf", reason="needs the extra 'bench'")
    model = exported(tmp_path / "model", Precision.FP32)
    made = stage.run(RivalInputs(model, unlabeled(tmp_path / "images")), FakeContext(tmp_path / "stage"))
    assert made.precision is Precision.INT8 and made.notes["audit"]["int8_share"] > 0.5
    feeds = {"image": np.ones((1, 3, SIZE, SIZE), np.float32), "scale_factor": np.ones((1, 2), np.float32)}
    with backends.get(made.backend).open(made) as session:
        boxes, scores = session.infer(feeds)
    assert boxes.shape == (1, SIZE * SIZE // 64, 4) and np.isfinite(boxes).all() and 0 < scores.max() <= 1
