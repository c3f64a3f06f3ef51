"""Which variants of its engines a run makes on each backend, from the config and from what this machine can do."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.config.schema import PipelineConfig
from stages import backends
from stages.backends.variants import Choice, choose, why_not
from stages.numerics.variants import BUILT, VARIANTS, title_of
from stages.options.backend import BackendOptions


@dataclass(frozen=True)
class Offer:
    """What a backend makes here: names of variants, in the order of the tables."""

    backend: str
    made: list[str]
    possible: list[str]
    """What it makes if it is named in ``backend.NAME.variants``."""
    left_out: dict[str, list[str]] = field(default_factory=dict)
    """Reason -> the variants that it cannot make for that one."""

    @property
    def sentence(self) -> str:
        """``FP32, BF16, INT8; on request INT8 + BF16; not FP16: this CPU has ...``."""
        parts = [_titles(self.made) or "nothing"]
        if self.possible:
            parts.append(f"on request {_titles(self.possible)}")
        return "; ".join([*parts, *(f"not {_titles(names)}: {why}" for why, names in self.left_out.items())])


def offer(backend: str, options: BackendOptions | None = None, choice: Choice | None = None) -> Offer:
    """What a backend makes with these options (by default its own), and of every other precision why it does not.

    Args:
        choice: what a run makes of it; by default what it would.
    """
    found = backends.get(backend)
    options = found.Options() if options is None else options
    choice = choose(found, options) if choice is None else choice
    made = [str(variant) for variant in choice.variants]
    possible, left_out = list[str](), dict[str, list[str]]()
    for name in dict.fromkeys([*BUILT, *(choice.left_out if getattr(found, "for_gpus", False) else ())]):
        if name in made:
            continue
        if (reason := why_not(found, VARIANTS[name], options)) is None:
            possible.append(name)
        else:
            left_out.setdefault(reason, []).append(name)
    return Offer(backend, made, possible, left_out)


def offers_of(config: PipelineConfig) -> list[Offer]:
    """The same of each backend of a config. Without a compression there is no INT8 to ask for."""
    found = [offer(name, options, variants_of(config, name)) for name, options in config.backend.items()]
    if config.compression.method != "none":
        return found
    return [
        Offer(
            one.backend,
            one.made,
            [name for name in one.possible if VARIANTS[name].is_float],
            {why: kept for why, names in one.left_out.items() if (kept := [n for n in names if VARIANTS[n].is_float])},
        )
        for one in found
    ]


def _titles(names: list[str]) -> str:
    return ", ".join(map(title_of, names))


def variants_of(config: PipelineConfig, backend: str) -> Choice:
    """The variants of one of ``config.backend``; without a compression nothing that needs an INT8 model."""
    chosen = choose(backends.get(backend), config.backend[backend])
    if config.compression.method != "none":
        return chosen
    left_out = {name: reason for name, reason in chosen.left_out.items() if VARIANTS[name].is_float}
    return Choice([variant for variant in chosen.variants if variant.is_float], left_out)
