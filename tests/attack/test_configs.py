"""Overrides that fit no option, given to every command that takes a config: refused before anything runs."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.config.keys import leaf_paths
from pipelines.config.schema import PipelineConfig
from tests.attack.attempt import Case, attempt, parameters

WRONG = ("inf", "nan", "-1e400", "{a: 1}", "[[[]]]", "$x^$", "${nothing}", "${oc.env:HOME", "9" * 400, "'a\x1b[2J'")
"""Values of overrides; no option is of the type of any but some of them."""

WORDS = (
    "x=$x^$", "=1", "..=1", "model=../../x", "data=/x", "backend=[../x]", "+experiment=../../x", "experiment=..",
    "hydra/launcher=x", "~model", "seed=" + "[" * 900, "model@x=y", "\x1b[2J=1", "seed=1,2",
    "--config-dir=../../x", "--config-name=../x", "--info=x", "schedule.cron=$x^$", "schedule.cron='99 99 * * *'",
    "schedule.interval=inf", "schedule.timezone=../../x", "tracking.uri=[/x]", "run.store=[/x]", "run.artifacts=",
)  # fmt: skip

COMMANDS = ("compress", "plan", "finetune", "sensitivity", "retrain", "schedule add", "schedule")
WRITES = ("artifacts", "artifacts/retrain", "artifacts/retrain/*")
"""The record of a retraining that was refused."""


def cases() -> Iterator[Case]:
    rng = random.Random(7)
    keys = sorted(leaf_paths(PipelineConfig))
    for i, word in enumerate(WORDS):
        yield _case(COMMANDS[i % len(COMMANDS)], word)
    for i, key in enumerate(rng.sample(keys, 60)):
        yield _case(COMMANDS[i % len(COMMANDS)], f"{key}={WRONG[i % len(WRONG)]}")


def _case(command: str, word: str) -> Case:
    """The command has another fault too, no weights, so that nothing is run in any case."""
    name, *rest = command.split()
    writes = WRITES if name == "retrain" else ()
    return Case(f"{command} {ascii(word)[:60]}", (name, *rest, "model.weights=gone.pdparams", word), writes=writes)


CASES = list(cases())


@pytest.mark.parametrize("case", parameters(CASES))
def test_an_override(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)
