"""Whose convolutions a training runs on: what is asked for, what fits, what is said, and a training that changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.artifacts import LabeledSet
from stages.data.weights import read_pdparams
from stages.outside.pickled_arrays import loads
from stages.training.finetune import CHECKPOINT, Finetune
from stages.training.kernels import changed, no_room
from tests.stages.training.test_finetune import STEPS, Run, options, train  # noqa: F401 (a fixture)

GIB = 1 << 30
LITTLE = 100 << 20
PLAIN = "convolutions run in Paddle's own kernels"


def test_what_is_estimated_is_held_against_what_is_available() -> None:
    assert no_room(3 * GIB, 3 * GIB) == ""
    assert no_room(3 * GIB, None) == ""  # a system that does not tell
    assert no_room(3 * GIB, GIB // 2) == "oneDNN's would take about 3 GiB of memory, and 0.5 GiB are available"


def test_a_training_that_goes_on_in_other_kernels_says_so() -> None:
    assert changed("paddle", "paddle") == changed("onednn", "onednn") == ""
    assert changed("onednn", "paddle").startswith(
        "the interrupted training ran in oneDNN and continues in Paddle's own kernels"
    )


@pytest.mark.slow
def test_where_memory_is_short_paddles_own_are_taken_and_that_is_said(
    train: LabeledSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = Run(tmp_path / "asked", options(steps=3, log_every=1, kernels="paddle"), Finetune.Inputs(train=train))
    assert asked.wait() == 0, asked.log_file.read_text()[-2000:]
    assert f"{PLAIN}: finetune.kernels=paddle" in asked.said("info")
    assert not [text for text in asked.said("warning") if "convolutions" in text]
    monkeypatch.setenv("STANDIN_MEMORY", str(LITTLE))
    short = Run(tmp_path / "short", options(steps=3, log_every=1), Finetune.Inputs(train=train), gpus=0)
    assert short.wait() == 0, short.log_file.read_text()[-2000:]
    (told,) = [text for text in short.said("warning") if "convolutions" in text]
    assert told.startswith(f"{PLAIN}, which take 1.4 times as long: oneDNN's would take about 0.")
    assert told.endswith("GiB of memory, and 0.098 GiB are available; a finetune.batch below 2 needs less")
    # Nothing is left of the programs that were made to look: it is the same training, bit for bit.
    assert short.history == asked.history
    weights = read_pdparams(asked.result.path("model.pdparams"))
    for name, value in read_pdparams(short.result.path("model.pdparams")).items():
        np.testing.assert_array_equal(value, weights[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("gpus", "standin", "reason"),
    [
        (0, {"STANDIN_MEMORY": str(LITTLE)}, "0.098 GiB are available; a finetune.batch below 2 needs less, or take"),
        (0, {"STANDIN_ONEDNN": "0"}, "this build of Paddle has no oneDNN; take finetune.kernels=auto or paddle"),
        (1, {}, "this training runs on a GPU; take run.device=cpu"),
    ],
    ids=["no memory", "no oneDNN", "a GPU"],
)
def test_onednn_is_refused_where_it_cannot(
    gpus: int,
    standin: dict[str, str],
    reason: str,
    train: LabeledSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in standin.items():
        monkeypatch.setenv(name, value)
    run = Run(tmp_path, options(kernels="onednn"), Finetune.Inputs(train=train), device="auto", gpus=gpus)
    assert run.wait() == 2
    error = run.events[-1]
    assert (error["event"], error["type"]) == ("error", "InputError")
    assert error["message"].startswith("finetune.kernels=onednn: ") and reason in error["message"]
    assert "\n" not in error["message"]
    assert not [event for event in run.events if event["event"] == "progress"]


@pytest.mark.slow
def test_a_training_goes_on_where_another_kernel_left_it(
    train: LabeledSet,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # By geometry: alignment takes the best few cells, which the last bit of a prediction may exchange for others.
    given, inputs = options(static_steps=STEPS), Finetune.Inputs(train=train)
    whole = Run(tmp_path / "whole", given, inputs)
    assert whole.wait() == 0
    first = Run(tmp_path / "both", given, inputs)
    assert first.wait(kill_at=6) != 0
    left = loads((first.work / CHECKPOINT).read_bytes())
    assert left["kernels"] == "onednn"
    monkeypatch.setenv("STANDIN_MEMORY", str(LITTLE))  # others have taken it meanwhile
    second = Run(tmp_path / "both", given, inputs, gpus=0)
    assert second.wait() == 0, second.log_file.read_text()[-2000:]
    assert f"continues from step {left['step']} of an interrupted training" in second.said("info")
    assert changed("onednn", "paddle") in second.said("warning")
    assert [p["step"] for p in second.history] == [p["step"] for p in whole.history]
    np.testing.assert_allclose([p["loss"] for p in second.history], [p["loss"] for p in whole.history], rtol=1e-3)
