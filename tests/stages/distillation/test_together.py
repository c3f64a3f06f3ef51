"""Distillation in several processes that train one student together."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from stages.distillation.distill import DistillInputs
from stages.distillation.loop import CHECKPOINT
from stages.errors import StageError
from stages.options.check import check_options
from stages.options.compression import CompressionSettings, DistillOptions
from tests.stages.workers import Worker, curve

Array = npt.NDArray[Any]

STEPS = 8


def options(**changes: Any) -> DistillOptions:
    settings: dict[str, Any] = {"steps": STEPS, "batch": 1, "processes": 2, "checkpoint_every": 3, "log_every": 1}
    settings |= {"lr": 1e-3, "eval_every": 4, "calibration_images": 3}
    return DistillOptions(**{**settings, **changes})


@pytest.fixture(scope="module")
def whole(fp32: DistillInputs, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A distillation that nobody interrupted."""
    worker = Worker(tmp_path_factory.mktemp("whole"), "distill", options(), fp32)
    worker.done()
    return worker


def losses(worker: Worker) -> list[float]:
    return [point["loss"] for point in curve(worker)]


def weights(worker: Worker, file: str) -> Array:
    """The weights of the convolutions, in one row."""
    with np.load(worker.work / file) as archive:
        values = [archive[name] for name in sorted(archive.files) if ".w_0" in name and "@" not in name]
    return np.concatenate([value.reshape(-1) for value in values])


def peers_of(worker: Worker) -> list[psutil.Process]:
    """The other processes of a distillation, running or left behind."""
    mine = str(worker.work)
    return [p for p in psutil.process_iter(["cmdline"]) if any(mine in part for part in p.info["cmdline"] or [])]


def nobody_is_left(worker: Worker) -> bool:
    """Within two seconds, which a killed process may take."""
    deadline = time.monotonic() + 2
    while peers_of(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not peers_of(worker)


class FirstStep:
    """Sees the events of a worker: does something at its first step, and knows when that was."""

    def __init__(self, do: Callable[[], object] = lambda: None) -> None:
        self._do, self._at = do, 0.0

    def __call__(self, event: dict[str, Any]) -> None:
        if event["event"] == "progress" and not self._at:
            self._at = time.monotonic()
            self._do()

    def seconds_ago(self) -> float:
        assert self._at
        return time.monotonic() - self._at


@pytest.mark.slow
def test_two_with_one_image_each_train_like_one_with_two(fp32: DistillInputs, tmp_path: Path) -> None:
    # Ranges are kept, since a moving average over two processes is not that of one batch with both images. Steps are
    # few and large: later the student of random weights is all roundings, and smaller steps are lost in float32.
    settings: dict[str, Any] = {"steps": 3, "lr": 3e-4, "loss": "l2", "alpha": 1e5, "weight_decay": 0}
    settings |= {"use_pact": False, "eval_every": None, "activation_ranges": "abs_max"}
    together = Worker(tmp_path / "two", "distill", options(**settings), fp32)
    alone = Worker(tmp_path / "one", "distill", options(processes=1, batch=2, **settings), fp32)
    together.done()
    alone.done()
    np.testing.assert_allclose(losses(together), losses(alone), rtol=2e-3)
    start, end, expected = weights(alone, "best-0.npz"), weights(together, CHECKPOINT), weights(alone, CHECKPOINT)
    np.testing.assert_array_equal(weights(together, "best-0.npz"), start)
    moved = np.linalg.norm(expected - start)
    assert moved > 1e-3 * np.linalg.norm(start)
    assert np.linalg.norm(end - expected) < 0.01 * moved


@pytest.mark.slow
def test_a_killed_one_goes_on_where_it_was(whole: Worker, fp32: DistillInputs, tmp_path: Path) -> None:
    first = Worker(tmp_path, "distill", options(), fp32)
    assert first.wait(kill_at=5) == -signal.SIGKILL
    assert nobody_is_left(first)
    second = Worker(tmp_path, "distill", options(), fp32)
    second.done()
    assert any("continues from step 3" in text for text in second.said("info"))
    assert losses(second) == losses(whole)
    assert second.result.files == whole.result.files  # the same weights, bit for bit
    assert nobody_is_left(second)


@pytest.mark.slow
@pytest.mark.timing
def test_one_that_is_asked_to_stop_saves_its_work(fp32: DistillInputs, tmp_path: Path) -> None:
    worker = Worker(tmp_path, "distill", options(steps=1000), fp32)
    began = FirstStep(lambda: [peer.terminate() for peer in peers_of(worker)])  # as who stops a whole group does
    assert worker.wait(kill_at=1, how=signal.SIGTERM, also=began) == 128 + signal.SIGTERM
    assert began.seconds_ago() < 5
    assert any("stopped at step" in text for text in worker.said("info"))
    assert (worker.work / CHECKPOINT).is_file()
    assert nobody_is_left(worker)


@pytest.mark.slow
@pytest.mark.timing
def test_a_process_that_dies_fails_the_stage_at_once(fp32: DistillInputs, tmp_path: Path) -> None:
    worker = Worker(tmp_path, "distill", options(steps=1000, eval_every=None), fp32)
    began = FirstStep(lambda: [peer.kill() for peer in peers_of(worker)])
    assert worker.wait(also=began) == StageError.exit_code
    assert began.seconds_ago() < 5
    error = worker.events[-1]
    assert (error["event"], error["type"]) == ("error", "StageError")
    assert "process 1 of the distillation (of 0 to 1) was killed by SIGKILL" in error["message"]
    assert nobody_is_left(worker)


def test_no_process_is_too_few() -> None:
    assert check_options(CompressionSettings(processes=2)) == []
    assert [problem.key for problem in check_options(CompressionSettings(processes=0))] == ["processes"]
