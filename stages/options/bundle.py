"""The bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.accuracy import NmsOptions
from stages.options.rules import POSITIVE, option, part


@dataclass
class BundleOptions:
    """A deployable bundle (stage ``bundle``, made by ``detpress bundle``)."""

    run_id: str = option("", doc="the run that made the engine")
    model: str = option("", doc="name of the model")
    layout: str = option(
        "", doc="a folder beside the engine, as a model server wants it, see `stages/bundle/layouts.py`"
    )
    golden: int = option(8, POSITIVE, "images that are packed into the bundle, with what the engine finds in them")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")
    promised: dict[str, Any] = option(
        {},
        doc="what the run measured: `map`, `map50` in points, `median_ms`, `end2end_ms`, `speedup` over FP32; and the "
        "verdicts on the last three: `timing`, `end2end_timing`, `speedup_timing`",
    )
    facts: dict[str, Any] = option(
        {}, doc="what the run knows of the engine, for its model card: see `stages/bundle/facts.py`"
    )
    hardware: str = option("", doc="what it was measured on")
    versions: dict[str, str] = option({}, doc="every package of the run")
    requirements: list[str] = option([], doc="the packages among them that the engine needs")
    config: dict[str, Any] = option({}, doc="the run's whole config")
