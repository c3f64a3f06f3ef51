"""What to do about a run whose timings were disturbed: the command that repeats the timing alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pipelines.execution.runner import Results
from pipelines.system.redact import redact
from stages.artifacts import LatencyResult, ThroughputResult

_KEY = "run.reuse_latency="


def repeat_hint(results: Results, command: Sequence[str], *, reused: bool) -> str:
    """A sentence with the command; empty if nothing was disturbed.

    Args:
        command: of the run.
        reused: whether ``run.reuse_latency=true``, so that the same command would take the same timing again.
    """
    timings = (LatencyResult, ThroughputResult)
    made = [artifact for artifact in results.artifacts.values() if isinstance(artifact, timings)]
    if not any(artifact.disturbed for artifact in made):
        return ""
    words = [word for word in command if not word.startswith(_KEY)] + ([f"{_KEY}false"] if reused else [])
    return (
        "some timings were disturbed; when the machine is quieter, this repeats the timing alone (all else is taken "
        f"from the store): {shlex.join(redact(words))}"
    )
