"""A search from the command line, through Hydra and its launchers, on runs that are numbers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pipelines.search.search import PAGE, RESULT
from stages.processes import python

pytest.importorskip("optuna", reason="the extra `search` is not installed")

SPACE = (
    "compression.ptq_algo=choice(avg,hist,KL,mse)", "compression.calibration_images=range(8,25,8)",
    "compression.batch=choice(1,2,3)",
)  # fmt: skip
SEARCH = ("compress", "-m", "hydra/sweeper=optuna", "model.random_weights=true", "run.artifacts=there", *SPACE)


def detpress(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        python.command("tests.pipelines.stub_search", *arguments), cwd=folder, capture_output=True, text=True,
        timeout=300, env=python.environment(NO_COLOR="1", **env),
    )  # fmt: skip


def trials(folder: Path) -> list[dict[str, Any]]:
    (found,) = (folder / "there" / "sweeps").iterdir()
    content: list[dict[str, Any]] = json.loads((found / RESULT).read_text())["trials"]
    return content


def test_a_search_ends_with_the_configs_that_none_beats_and_their_page(tmp_path: Path) -> None:
    done = detpress(tmp_path, *SEARCH, "hydra.sweeper.n_trials=6", "hydra.sweeper.limits.drop=0.5")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1].endswith(PAGE) and lines[-1].startswith("there/sweeps/search-")
    found = trials(tmp_path)
    assert len(found) == 6 and {one["state"] for one in found} == {"complete", "pruned"}
    assert "Configs that none beats" in done.stdout
    for one in found:
        algorithm, images, batch = (override.partition("=")[2] for override in one["overrides"])
        assert one["why"] == "" or one["why"].startswith("mAP drop")
        if one["best"]:
            assert f" {batch} " in done.stdout and images in done.stdout and algorithm in done.stdout
        # An early end is a limit that is broken: no report was made of it.
        has_report = (tmp_path / "there" / "runs" / one["run"] / "report.json").is_file()
        assert has_report == (one["state"] == "complete")
    page = (tmp_path / lines[-1]).read_text()
    assert all((one["run"] in page) == (one["state"] == "complete") for one in found)
    assert len(list((tmp_path / "there" / "sweeps").iterdir())) == 1  # the jobs have no folder of their own


def test_after_ctrl_c_the_same_command_goes_on(tmp_path: Path) -> None:
    first = detpress(tmp_path, *SEARCH, "hydra.sweeper.n_trials=4", STUB_INTERRUPT="3")
    assert first.returncode == 130 and "the same command continues" in first.stderr
    states = [one["state"] for one in trials(tmp_path)]
    assert states == ["complete"] * 2
    second = detpress(tmp_path, *SEARCH, "hydra.sweeper.n_trials=4")
    assert second.returncode == 0 and "continues: 3 of 4 configs were begun" in second.stderr
    found = trials(tmp_path)
    assert [one["state"] for one in found] == ["complete"] * 4
    assert len(list((tmp_path / "there" / "runs").iterdir())) == 5  # the one that was interrupted ran twice
    third = detpress(tmp_path, *SEARCH, "hydra.sweeper.n_trials=4")
    assert third.returncode == 0 and trials(tmp_path) == found


def test_a_disturbed_timing_is_a_failed_trial_and_no_slow_one(tmp_path: Path) -> None:
    words = [word for word in SEARCH if not word.startswith("compression.ptq_algo")]
    done = detpress(tmp_path, *words, "compression.ptq_algo=choice(avg,KL)", "hydra.sweeper.n_trials=4",
                    STUB_DISTURBED="avg")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for one in trials(tmp_path):
        disturbed = "compression.ptq_algo=avg" in one["overrides"]
        assert (one["state"] == "failed") == disturbed
        assert ("cannot be relied on: CPU shared" in one["why"]) == disturbed and (
            "speedup" in one["values"]
        ) != disturbed
    assert "cannot be relied on" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("compress", "-m", "hydra/sweeper=optuna", "model.random_weights=true"), "there is nothing to search"),
        ((*SEARCH, "hydra.sweeper.n_trials=none"), "hydra.sweeper.n_trials must be a number"),
        ((*SEARCH, "hydra.sweeper.limits.drop=x"), "hydra.sweeper.limits.drop must be a number"),
        ((*SEARCH, "hydra.sweeper.trials=3"), "hydra.sweeper.trials"),
        ((*SEARCH, "hydra.sweeper.goals=[mAP]"), "there is no number mAP"),
        (("finetune", "-m", "hydra/sweeper=optuna", "finetune.lr=interval(1e-4,1e-2)"), "a search is of"),
        ((*SEARCH[:3], *SEARCH[4:], "compression.lr=interval(-1,1)"), "compression.lr"),
    ],
)
def test_wrong_input_is_told_before_anything_runs(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    done = detpress(tmp_path, *arguments)
    assert done.returncode == 2 and says in " ".join(done.stderr.split()), done.stderr
    assert not (tmp_path / "there" / "runs").exists()


def test_the_space_may_stand_in_a_file_and_the_folder_on_the_command_line(tmp_path: Path) -> None:
    own = tmp_path / "mine" / "experiment"
    own.mkdir(parents=True)
    (own / "space.yaml").write_text(
        "# @package _global_\nmodel: {random_weights: true}\nhydra:\n  sweeper:\n    n_trials: 2\n"
        "    params: {compression.ptq_algo: 'choice(avg,KL)'}\n"
    )
    done = detpress(tmp_path, "compress", "-m", "--config-dir=mine", "experiment=space", "hydra/sweeper=optuna",
                    "run.artifacts=there", "hydra.sweep.dir=here")  # fmt: skip
    assert done.returncode == 0, done.stderr
    content = json.loads((tmp_path / "here" / RESULT).read_text())
    assert sorted(one["overrides"][0] for one in content["trials"]) == [
        "compression.ptq_algo=KL", "compression.ptq_algo=avg",
    ]  # fmt: skip


@pytest.mark.slow
def test_trials_run_on_ray_and_answer_through_it(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    ray = ("hydra/launcher=ray", "hydra.launcher.local_cpus=2", "hydra.sweeper.n_jobs=2")
    done = detpress(tmp_path, *SEARCH, *ray, "hydra.sweeper.n_trials=4", "hydra.sweeper.limits.drop=0.5")
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path)
    assert len(found) == 4 and {one["state"] for one in found} <= {"complete", "pruned"}
    (folder,) = (tmp_path / "there" / "sweeps").iterdir()
    assert {f"{i}.log" for i in range(4)} <= {path.name for path in folder.iterdir()}
    assert "detpress-trial" not in done.stdout
