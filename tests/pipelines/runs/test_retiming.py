"""The command that repeats the timing alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.execution.runner import Results
from pipelines.runs.retiming import repeat_hint
from stages.artifacts import LatencyResult, ThroughputResult

COMMAND = ["detpress", "compress", "data.root=my photos", "run.reuse_latency=true"]


def results(*disturbed: str) -> Results:
    timing = LatencyResult(root=Path(), backend="a", disturbed=list(disturbed))
    return Results(artifacts={"latency.a": timing})


@pytest.mark.parametrize(
    ("command", "reused", "said"),
    [
        (COMMAND[:3], False, "detpress compress 'data.root=my photos'"),
        (COMMAND, True, "detpress compress 'data.root=my photos' run.reuse_latency=false"),
    ],
)
def test_it_is_the_same_command_unless_that_would_take_the_same_timing(
    command: list[str], reused: bool, said: str
) -> None:
    hint = repeat_hint(results("int8 runtime: invalid: drift between rounds (20%)"), command, reused=reused)
    assert hint.startswith("some timings were disturbed") and hint.endswith(f": {said}")
    assert repeat_hint(results(), command, reused=reused) == repeat_hint(Results(), command, reused=reused) == ""


def test_disturbed_throughput_is_repeated_in_the_same_way() -> None:
    load = ThroughputResult(root=Path(), backend="a", disturbed=["int8 offline: invalid: drift between rounds (20%)"])
    said = repeat_hint(Results(artifacts={"throughput.a": load}), COMMAND[:3], reused=False)
    assert said.endswith("detpress compress 'data.root=my photos'")
