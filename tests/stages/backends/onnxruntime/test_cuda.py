"""Launching as a CUDA graph does it, with buffers that stay, and the choice of a layout; here in the CPU's memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.artifacts import Precision
from stages.backends.onnxruntime.cuda import RUNS, GraphSession, faster_layout
from tests.stages.engines import SIZE, exported
from tests.stages.latency.test_timing import VirtualClock


def test_buffers_that_stay_give_what_a_plain_run_gives(tmp_path: Path) -> None:
    import onnxruntime as ort

    model = exported(tmp_path, Precision.FP32)
    session = ort.InferenceSession(str(model.path("model.onnx")), providers=["CPUExecutionProvider"])
    launched = GraphSession(session, ["scores", "boxes"], device="cpu")
    rng = np.random.default_rng(0)
    for _ in range(3):
        feeds = {
            "image": rng.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32),
            "scale_factor": rng.uniform(0.5, 2, (1, 2)).astype(np.float32),
        }
        for one, other in zip(launched.infer(feeds), session.run(["scores", "boxes"], feeds), strict=True):
            np.testing.assert_array_equal(one, other)


def test_outputs_of_one_run_are_not_those_of_the_next(tmp_path: Path) -> None:
    import onnxruntime as ort

    model = exported(tmp_path, Precision.FP32)
    session = ort.InferenceSession(str(model.path("model.onnx")), providers=["CPUExecutionProvider"])
    launched = GraphSession(session, ["scores"], device="cpu")
    image, scale = np.zeros((1, 3, SIZE, SIZE), np.float32), np.ones((1, 2), np.float32)
    (first,) = launched.infer({"image": image, "scale_factor": scale})
    kept = first.copy()
    launched.infer({"image": image + 3, "scale_factor": scale})
    np.testing.assert_array_equal(first, kept)


def test_a_layout_that_the_runtime_cannot_run_is_told_and_not_taken() -> None:
    def opened(layout: bool) -> Callable[[], None]:
        def run() -> None:
            if layout:
                raise RuntimeError("Input channels C is not equal to kernel channels\nmore")

        return run

    found = faster_layout(opened)
    assert found == {"nhwc": False, "nhwc_refused": "Input channels C is not equal to kernel channels"}


@pytest.mark.parametrize(("nchw", "nhwc", "taken"), [(4.0, 3.0, True), (3.0, 4.0, False), (4.0, 3.95, False)])
def test_the_faster_layout_is_taken_and_a_tie_stays(nchw: float, nhwc: float, taken: bool) -> None:
    clock = VirtualClock()
    times, runs = {False: nchw, True: nhwc}, {False: 0, True: 0}

    def opened(layout: bool) -> Callable[[], None]:
        def run() -> None:
            runs[layout] += 1
            clock.wait(times[layout])

        return run

    found = faster_layout(opened, lambda: clock() / 1e9)
    assert found["nhwc"] is taken
    assert found["layout_ms"] == pytest.approx({"NCHW": nchw, "NHWC": nhwc})
    assert runs[True] == runs[False] + 1 > RUNS  # one to see whether it runs at all
