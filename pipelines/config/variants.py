"""Which variants of its engines a run makes on each backend, from the config and from what this machine can do."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from stages import backends
from stages.backends.variants import Choice, choose
from stages.numerics.variants import VARIANTS


def variants_of(config: PipelineConfig, backend: str) -> Choice:
    """The variants of one of ``config.backend``; without a compression nothing that needs an INT8 model."""
    chosen = choose(backends.get(backend), config.backend[backend])
    if config.compression.method != "none":
        return chosen
    left_out = {name: reason for name, reason in chosen.left_out.items() if VARIANTS[name].is_float}
    return Choice([variant for variant in chosen.variants if variant.is_float], left_out)
