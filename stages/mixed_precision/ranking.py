"""Which blocks of a detector suffer from eight bits: one block is quantized at a time, all others stay in float."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stages.artifacts import Engine
from stages.contract import StageContext
from stages.detection.bootstrap import draw_weights, interval, mean_over_classes, resample
from stages.detection.matching import Matches
from stages.mixed_precision.distance import output_distance
from stages.mixed_precision.workbench import EngineOutputs, ImageSet, MixedPrecisionBench
from stages.outside.files import put_text

DRAWS = 200
"""Resamplings of the images for the interval of a block's mAP drop."""
KEPT = "ranking.json"


@dataclass(frozen=True)
class Damage:
    """What quantizing one block alone does."""

    block: str
    layers: int
    share: float
    """Of the multiply-adds of all quantized layers."""
    distance: float
    """Of the raw outputs from FP32's, see ``stages/mixed_precision/distance.py``; the mean over the images."""
    map_drop: float | None = None
    """FP32's mAP minus this one, in points; ``None`` without labels."""
    low: float | None = None
    high: float | None = None
    """95 % interval of the drop, from resampling the images."""

    @property
    def certain(self) -> bool:
        """Whether the drop is more than the choice of images explains."""
        return self.low is not None and self.low > 0


def ordered(found: Sequence[Damage]) -> list[Damage]:
    """Worst first: blocks whose mAP drop is certain by that drop, then all others by the distance of the outputs.

    A drop of which the interval holds zero says nothing about the order; the distance, which is no count of hits and
    misses but continuous, still does.
    """
    return sorted(found, key=lambda d: (d.certain, (d.map_drop or 0.0) if d.certain else d.distance), reverse=True)


def rank(bench: MixedPrecisionBench, base: Engine, pictures: ImageSet, context: StageContext) -> list[Damage]:
    """Every block's damage on the built engine, worst first. What is known is kept, should the stage be interrupted.

    Args:
        base: the FP32 engine.
        pictures: with labels, the mAP is judged too.
    """
    keep = context.work / KEPT
    found = _restored(keep, bench)
    reference = bench.evaluate(base, pictures, keep=True)
    for block in bench.blocks:
        if block not in found:
            found[block] = _damage(bench, block, reference, pictures)
            put_text(keep, json.dumps([asdict(d) for d in found.values()]))
        context.progress(len(found), len(bench.blocks))
    return ordered(list(found.values()))


def _damage(bench: MixedPrecisionBench, block: str, reference: EngineOutputs, pictures: ImageSet) -> Damage:
    model = bench.export([b for b in bench.blocks if b != block])
    engine = bench.build(model, tune=False)
    seen = bench.evaluate(engine, pictures, keep=True)
    bench.forget(model, engine)
    distances = [
        output_distance(*own, *base) for own, base in zip(seen.outputs, reference.outputs, strict=True)
    ]  # fmt: skip
    damage: dict[str, Any] = {}
    if seen.matches is not None and reference.matches is not None:
        low, high = drop_interval(reference.matches, seen.matches, bench.context.seed)
        damage = {"map_drop": reference.map - seen.map, "low": low, "high": high}
    return Damage(block, len(bench.blocks[block]), bench.share(block), float(np.mean(distances)), **damage)


def drop_interval(base: Matches, other: Matches, seed: int) -> tuple[float | None, float | None]:
    """95 % interval of ``base`` - ``other`` in points of mAP, by a paired bootstrap; ``None`` where it is not known."""
    weights = draw_weights(len(base.image_ids), DRAWS, seed)
    draws = [100 * mean_over_classes(resample(matches, weights)[:, :, 0])[:, 0] for matches in (base, other)]
    bounds = interval(draws[0] - draws[1])
    return bounds if bounds is not None else (None, None)


def _restored(keep: Path, bench: MixedPrecisionBench) -> dict[str, Damage]:
    """The blocks that an interrupted try has looked at; nothing, if its file cannot be read."""
    try:
        found = [Damage(**entry) for entry in json.loads(keep.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        return {}
    return {d.block: d for d in found if d.block in bench.blocks}
