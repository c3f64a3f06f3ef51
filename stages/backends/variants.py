"""Which variants of its engines a backend makes, by default and at all, and why not the others.

A backend that has more than FP32 and INT8 to offer has the two methods of `MakesVariants`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from stages.artifacts import Engine, Precision
from stages.backends.base import Backend
from stages.errors import UnavailableError
from stages.numerics.variants import SEED, VARIANTS, FloatFormat, Variant, variant
from stages.options.backend import BackendOptions

PLAIN = tuple(str(precision) for precision in Precision)
"""The variants that every backend makes."""
NO_FLOATS = "{} computes in FP32 what is not INT8"
NO_PINNED = "page-locked buffers are for copies to a GPU, which {} does not make"


@runtime_checkable
class MakesVariants(Protocol):
    """A backend with variants beside FP32 and INT8."""

    def default_variants(self, options: BackendOptions) -> Sequence[str]:
        """Names, in the order of the tables; what this machine cannot do may be among them."""

    def why_not(self, wanted: Variant, options: BackendOptions) -> str | None:
        """Why an engine cannot be built or opened so, with these options on this machine; ``None`` if it can.

        Imports no runtime. What only the runtime knows, `Backend.build` says with an UnavailableError.
        """


@dataclass(frozen=True)
class Choice:
    """What a run makes of one backend: the variants, and of others that one may look for why there are none."""

    variants: list[Variant]
    left_out: dict[str, str] = field(default_factory=dict)


def why_not(backend: Backend, wanted: Variant, options: BackendOptions) -> str | None:
    """Why ``backend`` does not make a variant; ``None`` if it does."""
    if isinstance(backend, MakesVariants):
        return backend.why_not(wanted, options)
    if str(wanted) in PLAIN:
        return None
    name = f"the backend {backend.name}"
    return no_openings(name, wanted) or NO_FLOATS.format(name)


def no_openings(name: str, wanted: Variant) -> str | None:
    """For a runtime without a GPU, called ``name``: why nothing is opened with page-locked buffers."""
    return NO_PINNED.format(name) if wanted.pinned else None


def choose(backend: Backend, options: BackendOptions) -> Choice:
    """The variants of a run.

    What the user names is made or fails as unavailable, as a backend does. Of the defaults, what cannot be made here is
    left out, and so are the columns of the main tables that the backend has nothing for.
    """
    if options.variants is not None:
        named = [variant(name) for name in dict.fromkeys(options.variants)]
        return Choice(named, _reasons(backend, options, [name for name in SEED if name not in options.variants]))
    defaults = backend.default_variants(options) if isinstance(backend, MakesVariants) else PLAIN
    left_out = _reasons(backend, options, dict.fromkeys([*defaults, *SEED]))
    return Choice([variant(name) for name in defaults if name not in left_out], left_out)


def _reasons(backend: Backend, options: BackendOptions, names: Sequence[str] | dict[str, None]) -> dict[str, str]:
    found = ((name, why_not(backend, variant(name), options)) for name in names)
    return {name: reason for name, reason in found if reason is not None}


def require_variant(backend: Backend, wanted: Variant, options: BackendOptions) -> None:
    """Raises UnavailableError if ``backend`` cannot make a variant here."""
    reason = why_not(backend, wanted, options)
    if reason is not None:
        raise UnavailableError(f"backend {backend.name} has no {wanted}: {reason}")


def built_variant(precision: Precision, options: BackendOptions) -> Variant:
    """The variant that is built from a model of ``precision`` with a build's options."""
    return VARIANTS[options.variants[0] if options.variants else str(precision)]


def float_format(precision: Precision, options: BackendOptions) -> FloatFormat:
    """What is not INT8 in the engine that is built; see `built_variant`."""
    return built_variant(precision, options).floats


def build_options(options: BackendOptions, wanted: Variant) -> dict[str, Any]:
    """What `stages.build` is given for a variant; of FP32 and INT8 without a word of variants, as ever."""
    plain = {name: value for name, value in dataclasses.asdict(options).items() if name != "variants"}
    return plain if str(wanted) in PLAIN else {**plain, "variants": [str(wanted.engine)]}


def opened_as(engine: Engine, name: str) -> Engine:
    """The same files, opened as the variant ``name`` says.

    Raises:
        ValueError: that variant is another engine.
    """
    if variant(name).engine != engine.variant.engine:
        raise ValueError(f"a {engine.precision} engine cannot be opened as {name}")
    return dataclasses.replace(engine, precision=name)
