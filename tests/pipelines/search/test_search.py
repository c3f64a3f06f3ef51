"""The search on an objective of numbers: what it finds, how it ends, and that an interruption changes nothing."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipelines.config.space import Axis
from pipelines.runs.trial import COMPLETE, FAILED, PRUNED, Measured
from pipelines.search.options import SearchOptions
from pipelines.search.search import LOCK, RESULT, best, digest, search
from pipelines.search.study import FILE, Tried
from pipelines.system import locks
from stages.errors import ExitCode, InputError

pytest.importorskip("optuna", reason="the extra `search` is not installed")

ALGORITHMS = {"avg": 0.1, "hist": 0.5, "KL": 0.4, "mse": 0.6}
AXES = [
    Axis("algo", tuple(ALGORITHMS)),
    Axis("images", low=8, high=24, step=8, whole=True),
    Axis("blocks", ("0", "1", "2")),
]
OPTIONS = SearchOptions(n_trials=14, limits={"drop": 0.5})
Objective = Callable[[dict[str, str]], Measured]


def quality(config: dict[str, str]) -> Measured:
    """Blocks in float win back accuracy and cost time; more images help a little. A drop beyond 0.5 is seen early."""
    blocks, images = int(config["blocks"]), int(config["images"])
    drop = ALGORITHMS[config["algo"]] + 2.0 / images - 0.15 * blocks
    if drop > 0.5:
        return Measured(PRUNED, "mAP drop above the limit", "r", {"drop": drop})
    return Measured(COMPLETE, "", "r", {"speedup": 2.0 - 0.3 * blocks - 0.001 * images, "drop": drop})


class Launcher:
    """Runs jobs as a launcher does, and keeps what it was given."""

    def __init__(self, objective: Objective = quality, stop_at: int | None = None) -> None:
        self.jobs: list[list[str]] = []
        self.batches: list[int] = []
        self._objective, self._stop_at = objective, stop_at

    def __call__(self, jobs: Sequence[Sequence[str]], first: int) -> list[Measured]:
        self.batches.append(len(jobs))
        answers = []
        for job in jobs:
            self.jobs.append(list(job))
            if len(self.jobs) == self._stop_at:
                raise KeyboardInterrupt
            answers.append(self._objective(dict(override.split("=") for override in job)))
        return answers


def trials(folder: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((folder / RESULT).read_text())["trials"]
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fourteen_trials_find_a_config_as_good_as_the_best_of_a_grid_of_36(tmp_path: Path, seed: int) -> None:
    grid = [quality(dict(zip(("algo", "images", "blocks"), values, strict=True)))
            for values in itertools.product(ALGORITHMS, ("8", "16", "24"), ("0", "1", "2"))]  # fmt: skip
    fastest = max(one.values["speedup"] for one in grid if one.state == COMPLETE)
    options = SearchOptions(n_trials=14, limits={"drop": 0.5}, seed=seed)
    launcher = Launcher()
    code, _ = search(tmp_path, AXES, ["seed=0"], options, launcher)
    assert code == ExitCode.DONE and len(launcher.jobs) == 14 and {job[0] for job in launcher.jobs} == {"seed=0"}
    found = [one["values"]["speedup"] for one in trials(tmp_path) if one["state"] == COMPLETE]
    assert len(grid) == 36 and max(found) >= fastest - 0.02


def test_an_interrupted_search_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, parts = Launcher(), Launcher(stop_at=6)
    search(tmp_path / "whole", AXES, [], OPTIONS, whole)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts", AXES, [], OPTIONS, parts)
    later = Launcher()
    search(tmp_path / "parts", AXES, [], OPTIONS, later)
    assert parts.jobs[-1] == later.jobs[0]  # what was being tried is run again
    assert parts.jobs + later.jobs[1:] == whole.jobs
    assert trials(tmp_path / "parts") == trials(tmp_path / "whole")
    assert len({tuple(job) for job in whole.jobs}) == 14  # no config twice


def test_a_line_that_a_killed_process_left_half_written_is_taken_away(tmp_path: Path) -> None:
    search(tmp_path, AXES, [], SearchOptions(n_trials=3), Launcher())
    with (tmp_path / FILE).open("ab") as stream:
        stream.write(b'{"op_code":5,"worker_')
    more = Launcher()
    code, _ = search(tmp_path, AXES, [], SearchOptions(n_trials=5), more)
    assert code == ExitCode.DONE and len(more.jobs) == 2 and len(trials(tmp_path)) == 5


def test_a_damaged_journal_is_one_line_with_a_way_out(tmp_path: Path) -> None:
    search(tmp_path, AXES, [], SearchOptions(n_trials=2), Launcher())
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    for damage in (b"not JSON\n", b'{"op_code": "x"}\n', b"[]\n"):
        (tmp_path / FILE).write_bytes(b"".join([*lines[:2], damage, *lines[2:]]))
        with pytest.raises(InputError, match="remove it to begin anew"):
            search(tmp_path, AXES, [], SearchOptions(n_trials=3), Launcher())


def test_batches_and_the_end_of_a_small_space(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    launcher = Launcher()
    small = [AXES[0], Axis("images", ("8", "16")), Axis("blocks", ("1",))]
    code, _ = search(tmp_path, small, [], SearchOptions(n_trials=20, n_jobs=3), launcher)
    assert launcher.batches == [3, 3, 2] and len({tuple(job) for job in launcher.jobs}) == 8
    assert code == ExitCode.DONE and "all 8 configs of the search space were tried" in capsys.readouterr().err


def test_what_failed_is_no_slow_config_and_is_tried_again_by_the_same_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def flaky(config: dict[str, str]) -> Measured:
        if config["algo"] == "avg":
            return Measured(FAILED, "Speed-up cannot be relied on: CPU shared")
        return quality(config)

    code, _ = search(tmp_path, AXES, [], OPTIONS, Launcher(flaky))
    told = capsys.readouterr().err
    assert code == ExitCode.DONE
    assert "failed: Speed-up cannot be relied on: CPU shared" in told and "tried again by the same command" in told
    failed = [one for one in trials(tmp_path) if one["state"] == FAILED]
    assert failed and not any(one["best"] or one["values"] for one in failed)
    again = Launcher()
    search(tmp_path, AXES, [], OPTIONS, again)
    assert again.jobs == [one["overrides"] for one in failed]
    assert len(trials(tmp_path)) == 14 and not any(one["state"] == FAILED for one in trials(tmp_path))


def test_the_exit_code_says_whether_anything_holds(tmp_path: Path) -> None:
    def broken(config: dict[str, str]) -> Measured:
        return Measured(PRUNED, "mAP drop 3.00 is above the limit 0.5", "r", {"drop": 3.0})

    options = SearchOptions(n_trials=2, limits={"drop": 0.5})
    assert search(tmp_path / "a", AXES, [], options, Launcher(broken)) == (3, tmp_path / "a" / RESULT)
    failing = Launcher(lambda config: Measured(FAILED, "no disk"))
    assert search(tmp_path / "b", AXES, [], options, failing)[0] == ExitCode.STAGE_FAILED


def test_another_search_in_the_folder_and_another_process_at_it(tmp_path: Path) -> None:
    search(tmp_path, AXES, [], SearchOptions(n_trials=1), Launcher())
    with pytest.raises(InputError, match=r"another search; name another folder with hydra\.sweep\.dir"):
        search(tmp_path, AXES[:2], [], SearchOptions(n_trials=1), Launcher())
    descriptor = locks.acquire(tmp_path / LOCK)
    assert descriptor is not None
    try:
        with pytest.raises(InputError, match="run by another process"):
            search(tmp_path, AXES, [], SearchOptions(n_trials=1), Launcher())
    finally:
        os.close(descriptor)


def test_how_many_trials_make_no_other_search_but_limits_do() -> None:
    same = digest(AXES, ["a=1", "b=2"], SearchOptions(n_trials=3))
    assert digest(AXES, ["b=2", "a=1"], SearchOptions(n_trials=30, n_jobs=4)) == same
    others = [SearchOptions(limits={"drop": 1}), SearchOptions(goals=["drop"]), SearchOptions(seed=1)]
    assert len({same, *(digest(AXES, ["a=1", "b=2"], one) for one in others), digest(AXES, [], SearchOptions())}) == 5


def test_which_configs_none_beats() -> None:
    def tried(number: int, speedup: float, drop: float, state: str = COMPLETE) -> Tried:
        return Tried(number, {}, Measured(state, "", "", {"speedup": speedup, "drop": drop}))

    all_of_them = [
        tried(0, 2.0, 0.5), tried(1, 1.5, 0.1), tried(2, 1.5, 0.3), tried(3, 3.0, 0.0, PRUNED), tried(4, 2.0, 0.5),
        Tried(5, {}, None), tried(6, 1.9, 0.6),
    ]  # fmt: skip
    assert [one.number for one in best(all_of_them, ["speedup", "drop"])] == [0, 4, 1]
    assert [one.number for one in best(all_of_them, ["drop"])] == [1]


def test_numbers_on_a_log_scale_are_searched_too(tmp_path: Path) -> None:
    def rate(config: dict[str, str]) -> Measured:
        return Measured(COMPLETE, "", "r", {"drop": abs(math.log10(float(config["lr"])) + 4)})

    axes = [Axis("lr", low=1e-6, high=1e-2, log=True)]
    search(tmp_path, axes, [], SearchOptions(n_trials=20, goals=["drop"]), Launcher(rate))
    found = [one["values"]["drop"] for one in trials(tmp_path)]
    assert len(found) == 20 and min(found) < 0.3 and min(found) < min(found[:3])
