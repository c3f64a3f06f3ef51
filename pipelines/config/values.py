"""Hold the values of a config against the rules of its dataclasses, those of its backends among them."""

from __future__ import annotations

from typing import Any

from pipelines.config.keys import Problem
from pipelines.config.schema import PipelineConfig
from stages import backends
from stages.errors import ConfigError
from stages.options.backend import BackendOptions
from stages.options.check import check_options
from stages.options.latency import check_rounds


def check_values(config: PipelineConfig) -> list[Problem]:
    """The values that break their rule or contradict others; ``None`` means that nothing was set."""
    problems = check_options(config)
    if not any(problem.key == "latency.runs" for problem in problems):
        problems += [_as_problem(text) for text in check_rounds(config.latency)]
    known = {str(problem) for problem in problems}
    for name, options in config.backend.items():
        refused = [_as_problem(text) for text in _refused(name, options)]
        problems += [problem for problem in refused if str(problem) not in known]
    return problems


def _refused(name: str, options: Any) -> tuple[str, ...]:
    """What only the backend itself can say about its options; of a backend that is not known, nothing."""
    if not isinstance(options, BackendOptions):
        return ()
    try:
        backends.get(name).availability(options)
    except ConfigError as error:
        return error.problems
    return ()


def _as_problem(text: str) -> Problem:
    """A line of a stage's or backend's as a problem of the key that it begins with, if it does."""
    key, colon, rest = text.partition(": ")
    return Problem(key, rest) if colon and " " not in key else Problem("", text)
