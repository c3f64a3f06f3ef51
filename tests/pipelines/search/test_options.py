"""The fields of ``hydra.sweeper``: what does not fit is one line that names the key."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from pipelines.search.options import SearchOptions, made
from stages.errors import InputError
from tests.conftest import ROOT


def test_the_file_states_the_defaults() -> None:
    content = yaml.safe_load((ROOT / "conf" / "hydra" / "sweeper" / "optuna.yaml").read_text())
    assert content.pop("_target_") == "hydra_plugins.detpress_search.OptunaSweeper"
    options = made(content)
    assert options.asked.limits == {} and options.asked == SearchOptions().asked
    assert {**vars(options), "limits": {}} == vars(SearchOptions())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"n_trials": 0}, r"hydra\.sweeper\.n_trials must be a number from 1 on"),
        ({"n_jobs": "two"}, "n_jobs must be"),
        ({"n_trials": True}, "n_trials must be"),
        ({"seed": -1}, "seed must be"),
        ({"sampler": "grid"}, "sampler must be tpe or random"),
        ({"goals": []}, "goals must be"),
        ({"goals": "drop"}, "goals must be"),
        ({"goals": ["drop", "drop"]}, "each once"),
        ({"goals": ["latncy"]}, "there is no number latncy.*latency"),
        ({"limits": {"drp": 1}}, "there is no number drp"),
        ({"limits": {"drop": "much"}}, r"limits\.drop must be a number"),
        ({"limits": {"drop": float("nan")}}, r"limits\.drop must be a number"),
        ({"n_trial": 3}, "there is no such key.*n_trials"),
        ({"params": ["a"]}, "params must be"),
        ({"backend": 3}, "backend must be"),
    ],
)
def test_what_does_not_fit_is_named(content: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        made(content)


def test_limits_that_are_null_are_none() -> None:
    assert made({"limits": {"drop": 0, "latency": None}}).asked.limits == {"drop": 0.0}
