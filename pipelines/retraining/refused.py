"""A retraining whose command line or config is wrong has an outcome too, wherever that can be written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.config.literal import given
from pipelines.retraining.journal import Outcome, run_and_record


def refused(
    arguments: Sequence[str],
    error: Exception,
    *,
    debug: bool = False,
    on_error: Callable[[Exception], object] | None = None,
) -> tuple[int, Path]:
    """Tell ``error`` (see `run_and_record`) and write it down under the folder that ``arguments`` name.

    By default that is the usual one.
    """
    artifacts = Path(os.path.expanduser(given(arguments, "run.artifacts") or "artifacts")).resolve()  # noqa: PTH111

    def work(outcome: Outcome) -> None:
        raise error

    return run_and_record(artifacts, ["detpress", "retrain", *arguments], work, debug=debug, on_error=on_error)
