"""Hold the values of a config against the rules of its dataclasses, those of its backends among them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipelines.config.keys import Problem
from pipelines.config.schema import PipelineConfig
from pipelines.config.variants import variants_of
from stages import backends
from stages.errors import ConfigError
from stages.numerics.variants import BUILT, FP32, VARIANTS
from stages.options.backend import BackendOptions
from stages.options.check import check_options
from stages.options.latency import check_rounds
from stages.options.throughput import check_server
from stages.processes.cores import allowed_cores


def check_values(config: PipelineConfig) -> list[Problem]:
    """The values that break their rule or contradict others; ``None`` means that nothing was set."""
    problems = check_options(config)
    if not any(problem.key == "latency.runs" for problem in problems):
        problems += [_as_problem(text) for text in check_rounds(config.latency)]
    if config.latency.server.enabled and not any(problem.key.startswith("latency.server") for problem in problems):
        problems += [_as_problem(text) for text in check_server(config.latency.server, allowed_cores())]
    known = {str(problem) for problem in problems}
    for name, options in config.backend.items():
        refused = [_as_problem(text) for text in _refused(name, options)]
        problems += [problem for problem in refused if str(problem) not in known]
        problems += _variants(f"backend.{name}.variants", options, config.compression.method)
    return problems or list(_registered(config))


def _variants(key: str, options: Any, method: str) -> Iterator[Problem]:
    """What is wrong with variants that the user names."""
    named = getattr(options, "variants", None)
    if not named or not isinstance(named, (list, tuple)) or not set(named) <= set(VARIANTS):
        return
    if str(FP32) not in named:
        yield Problem(key, "fp32 is missing: every other engine is compared with it; add it")
    quantized = [name for name in named if not VARIANTS[name].is_float]
    if quantized and method == "none":
        yield Problem(key, f"compression=none makes no model for {', '.join(quantized)}; leave it out")


def _registered(config: PipelineConfig) -> Iterator[Problem]:
    """What is wrong with the variant that is to be registered."""
    name, backend = config.registry.variant, config.registry.backend or next(iter(config.backend), "")
    if name not in BUILT or not isinstance(config.backend.get(backend), BackendOptions):
        return
    made = [str(variant) for variant in variants_of(config, backend).variants]
    if name not in made:
        yield Problem(
            "registry.variant", f"no {name} engine is built; name it in backend.{backend}.variants ({', '.join(made)})"
        )


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
