"""MLflow's model registry (`conf/registry`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.numerics.variants import BUILT
from stages.options.bundle import BundleOptions
from stages.options.rules import like, matches, one_of, option


@dataclass
class RegistryOptions:
    """Which engine is kept in MLflow's Model Registry, under which name."""

    register: bool = option(
        False, doc="let `detpress compress` register its engine as the challenger; `detpress retrain` always does"
    )
    name: str | None = option(
        None,
        matches(
            r"(?!.*'.*\"|.*\".*')[^/:\x00-\x1f\x7f]*[^/:\\\x00-\x1f\x7f]",
            "it must be one line without / and :, with one kind of quotes at most, and no backslash at its end",
        ),
        "name of the registered model; null: `MODEL-DATA-BACKEND`",
    )
    backend: str | None = option(None, doc="the engine's backend; null: the first one of the config")
    variant: str | None = option(
        None,
        one_of(*BUILT),
        "which of that backend's engines (`int8_fp16`); null: `int8`, or `fp32` with `compression=none`",
    )
    golden: int = like(BundleOptions, "golden")
