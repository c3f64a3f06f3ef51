"""Stage ``float_blocks``: the INT8 model with as few blocks in float as keep its mAP (``compression.max_map_drop``).

INT8 is scored first; if it holds, nothing is ranked and nothing changes. Else blocks go to float one after another,
worst first (`ranking.py`), until the drop holds or the engine would fall below ``compression.min_speedup`` times
FP32's speed; and blocks that turn out not to be needed go back. Everything is measured on the built engine of one
backend; what comes out is the model in all its forms, which every backend builds from.

If the drop cannot be met, the INT8 model comes out as it went in, with a warning.

``float_blocks.json``::

    schema_version, backend, max_map_drop, min_speedup (as asked)
    labels        which labelled images decided: "train" or "val"; images: how many
    met           whether the drop holds on these images; outcome: in words
    fp32_map, int8_map, map          points: FP32, all blocks in INT8, the model that came out
    int8_drop, map_drop              FP32's minus these
    int8_speedup, speedup            of the engines, FP32's time / their time, as timed here
    blocks        left in float, in the order of choice: block, layers, share (of multiply-adds), gain (mAP points that
                  it brought when it was added), ms_lost (that it cost per run)
    steps         every mixture that was tried: blocks, map, map_drop, speedup, ms
    ranking       the content of ``sensitivity.json``; null if INT8 held by itself
"""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from stages.artifacts import FLOAT_BLOCKS_FILE, ExportedModel, ImageList, LabeledSet, hash_files
from stages.contract import StageContext
from stages.errors import ConfigError
from stages.mixed_precision.ranking import Damage, rank
from stages.mixed_precision.sensitivity import PACKAGES, describe, write
from stages.mixed_precision.workbench import ImageSet, MixedPrecisionBench, labelled
from stages.options.sensitivity import FloatBlocksOptions

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FloatBlocksInputs:
    """``base`` and ``model``: FP32 and INT8 of one detector. ``validation`` says how many images suffice for a verdict
    where ``labels`` are those of the training."""

    base: ExportedModel
    model: ExportedModel
    images: ImageList
    labels: LabeledSet | None = None
    validation: LabeledSet | None = None


@dataclass(frozen=True)
class Tried:
    """A mixture that was built, scored and timed."""

    blocks: tuple[str, ...]
    model: ExportedModel
    map: float
    drop: float
    speedup: float
    base_ms: float
    """FP32's time per run beside it."""


class FloatBlocks:
    """See the module's docstring."""

    name: ClassVar[str] = "float_blocks"
    version: ClassVar[int] = 3  # 2, 3: engines as `build` 7 and 8 make them
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    Options: ClassVar[type] = FloatBlocksOptions
    Inputs: ClassVar[type] = FloatBlocksInputs
    Output: ClassVar[type[ExportedModel]] = ExportedModel

    def __init__(self, options: FloatBlocksOptions) -> None:
        self.options = options

    def run(self, inputs: FloatBlocksInputs, context: StageContext) -> ExportedModel:
        """Choose the blocks and write the model.

        Raises:
            ConfigError: no labels.
            UnavailableError: the backend cannot run here.
            StageError: an engine cannot be built, or gives no finite numbers.
        """
        o = self.options
        if inputs.labels is None:
            raise ConfigError(["compression.max_map_drop needs labelled images; give data.val_annotations and "
                               "data.val_images, or set it to null"])  # fmt: skip
        count = o.verdict_images
        if count is None and o.labels == "train" and inputs.validation is not None:
            count = inputs.validation.images
        verdict = labelled(inputs.labels, count)
        with closing(MixedPrecisionBench(inputs.base, inputs.model, o, context)) as bench:
            search = Search(bench, o, verdict, labelled(inputs.labels, o.images), context)
            chosen = search.run()
            content = search.content(chosen)
            names = [n for n in chosen.model.files if n != FLOAT_BLOCKS_FILE]
            for name in names:
                shutil.copyfile(chosen.model.path(name), context.out / name)
        (context.out / FLOAT_BLOCKS_FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if content["ranking"] is not None:
            write(content["ranking"], context.out)
        (context.info if content["met"] else context.warn)(content["outcome"])
        for name in ("int8_drop", "map_drop", "int8_speedup", "speedup"):
            context.metric(name, content[name])
        context.metric("blocks", len(content["blocks"]))
        return replace(inputs.model, root=context.out, files=hash_files(context.out), key="")


class Search:
    """The search and what it found on the way."""

    def __init__(
        self,
        bench: MixedPrecisionBench,
        options: FloatBlocksOptions,
        verdict: ImageSet,
        sample: ImageSet,
        context: StageContext,
    ) -> None:
        self.bench, self.options, self.verdict, self.sample, self.context = bench, options, verdict, sample, context
        self.base = bench.build(bench.base, tune=False)
        self.fp32_map = bench.evaluate(self.base, verdict).map
        self.steps: list[Tried] = []
        self.ranking: list[Damage] | None = None
        self.why = ""

    def run(self) -> Tried:
        """The mixture to continue with: INT8 itself if that holds, or if no mixture does."""
        o = self.options
        int8 = self._try(())
        if self._holds(int8):
            return int8
        if int8.speedup < o.min_speedup:
            self.why = f"INT8 itself is {int8.speedup:.2f} times as fast as FP32, less than min_speedup"
            return int8
        self.ranking = rank(self.bench, self.base, self.sample, self.context)
        last = int8
        for damage in self.ranking:
            step = self._try((*last.blocks, damage.block))
            if step.speedup < o.min_speedup:
                self.why = (
                    f"with {len(step.blocks)} blocks in float it would be {step.speedup:.2f} times as fast as FP32, "
                    "less than min_speedup"
                )
                return int8
            if last.blocks:
                self.bench.forget(last.model)
            last = step
            if self._holds(step):
                return self._without_idle(step)
        self.why = "not even with every block in float"
        return int8

    def _without_idle(self, found: Tried) -> Tried:
        """Put blocks back, least damaging first, that the drop holds without."""
        for block in reversed(found.blocks[:-1]):
            step = self._try(tuple(b for b in found.blocks if b != block))
            needed = not self._holds(step)
            self.bench.forget((step if needed else found).model)
            found = found if needed else step
        return found

    def _holds(self, step: Tried) -> bool:
        return step.drop <= self.options.max_map_drop

    def _try(self, blocks: tuple[str, ...]) -> Tried:
        model = self.bench.export(blocks) if blocks else self.bench.model
        engine = self.bench.build(model, tune=True)
        score = self.bench.evaluate(engine, self.verdict).map
        ratio, base_ms = self.bench.speed(self.base, engine, self.verdict)
        tried = Tried(blocks, model, score, self.fp32_map - score, ratio, base_ms)
        self.steps.append(tried)
        self.bench.forget(engine)
        names = ", ".join(blocks) or "no block"
        self.context.info(f"{names} in float: mAP {score:.2f} ({-tried.drop:+.2f}), {ratio:.2f} times FP32's speed")
        return tried

    def content(self, chosen: Tried) -> dict[str, Any]:
        """``float_blocks.json``."""
        o, int8 = self.options, self.steps[0]
        met = self._holds(chosen)
        ranking = None
        if self.ranking is not None:
            map_there = self.bench.evaluate(self.base, self.sample).map
            ranking = describe(self.ranking, o, o.labels, len(self.sample.paths), map_there)
        return {
            "schema_version": SCHEMA_VERSION,
            "backend": o.backend,
            "max_map_drop": o.max_map_drop,
            "min_speedup": o.min_speedup,
            "labels": o.labels,
            "images": len(self.verdict.paths),
            "met": met,
            "outcome": self._outcome(chosen, met),
            "fp32_map": self.fp32_map,
            "int8_map": int8.map,
            "map": chosen.map,
            "int8_drop": int8.drop,
            "map_drop": chosen.drop,
            "int8_speedup": int8.speedup,
            "speedup": chosen.speedup,
            "blocks": [self._cost(chosen, block) for block in chosen.blocks],
            "steps": [
                {"blocks": list(s.blocks), "map": s.map, "map_drop": s.drop, "speedup": s.speedup, "ms": self._ms(s)}
                for s in self.steps
            ],
            "ranking": ranking,
        }

    def _ms(self, step: Tried) -> float:
        """A mixture's time per run. Mixtures are timed minutes apart, each beside FP32: so by its ratio to that, and
        FP32's time when the machine was least disturbed."""
        return min(s.base_ms for s in self.steps) / step.speedup

    def _cost(self, chosen: Tried, block: str) -> dict[str, Any]:
        """What a block brought and cost when it was added to those before it."""
        i = next(i for i, step in enumerate(self.steps) if step.blocks[-1:] == (block,))
        before = next(s for s in self.steps if s.blocks == self.steps[i].blocks[:-1])
        return {
            "block": block,
            "layers": len(self.bench.blocks[block]),
            "share": self.bench.share(block),
            "gain": self.steps[i].map - before.map,
            "ms_lost": self._ms(self.steps[i]) - self._ms(before),
        }

    def _outcome(self, chosen: Tried, met: bool) -> str:
        o, int8 = self.options, self.steps[0]
        asked = f"asked was a drop of at most {o.max_map_drop:g} points"
        if met and not chosen.blocks:
            return f"INT8 loses {int8.drop:.2f} mAP with every block quantized; {asked}"
        if met:
            names = ", ".join(chosen.blocks)
            return (
                f"left in float: {names}. The drop is {chosen.drop:.2f} instead of {int8.drop:.2f} mAP ({asked}), the "
                f"speed-up {chosen.speedup:.2f} instead of {int8.speedup:.2f}"
            )
        best = min(self.steps, key=lambda step: step.drop)
        tried = f"; the best mixture tried has {len(best.blocks)} blocks in float and loses {best.drop:.2f}"
        return (
            f"compression.max_map_drop={o.max_map_drop:g} was not met: INT8 loses {int8.drop:.2f} mAP, and {self.why}"
            f"{tried if best.blocks else ''}. Nothing was left in float; compress with more steps or images, allow a "
            "larger drop, or lower compression.min_speedup"
        )
