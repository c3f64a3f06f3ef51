"""Makes what the escalation tries, with the stages that a plain compression uses, and judges it on the built engine.

Everything lies in the stage's work folder: ``ranges.json`` (of all algorithms, from one observation), a folder a step
with its model in both forms, and the checkpoints of the distillation, which a longer one continues from.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from stages.artifacts import EQUALIZED_FILE, ExportedModel, ImageList, Precision, QuantizedModel, hash_files, sha256_of
from stages.contract import StageContext
from stages.detection.unlabeled import UnlabeledImages, images_for, listed_paths
from stages.distillation.distill import Distill, DistillInputs
from stages.errors import DataError
from stages.export.export import Export, ExportInputs
from stages.mixed_precision.distance import output_distance
from stages.mixed_precision.ranking import rank
from stages.mixed_precision.workbench import EngineOutputs, ImageSet, MixedPrecisionBench
from stages.numerics.algorithms import ALGORITHMS
from stages.options.compression import MOVING_AVERAGE, PTQ, PTQ_ONLY, QAT_DISTILL, DistillOptions
from stages.options.export import ExportOptions
from stages.options.search import SearchOptions
from stages.options.sensitivity import SensitivityOptions
from stages.outside import records
from stages.outside.files import put_text
from stages.search.judgement import Judgement, judge_distance, judge_map
from stages.search.ledger import CORRECT, DISTILL, FLOAT, RANGES, Step

MODEL_FILES = ("model.pdmodel", "model.pdiparams")
CURVES = ("history.json", "scores.json")
RANGES_FILE = "ranges.json"


class ModelWorkshop:
    """See the module's docstring; ``escalation.Workshop`` for a detector.

    Args:
        images: what is compressed with: those to be judged on are not among them.
        calibration: ranges are observed on these; ``None``: on some of ``images``.
        pictures: what is judged on, with labels or without.
    """

    def __init__(
        self,
        base: ExportedModel,
        images: ImageList,
        calibration: ImageList | None,
        pictures: ImageSet,
        options: SearchOptions,
        context: StageContext,
    ) -> None:
        self.base, self.images, self.calibration, self.pictures = base, images, calibration, pictures
        self.options, self.context = options, context
        self._reference: EngineOutputs | None = None

    def make(self, step: Step) -> Judgement:
        """Make, export, build and judge. StageError where one of these does not succeed."""
        folder = _emptied(self.folder(step))
        if step.kind == FLOAT:
            return self._mixed(step, folder)
        out = _emptied(folder / "quantized")
        if step.kind in (RANGES, CORRECT):
            made = self._quantized(step, out)
        else:
            assert step.kind == DISTILL
            made = self._distilled(step, out)
        exported = self._exported(made, _emptied(folder / "exported"))
        with closing(self._bench(exported)) as bench:
            return self._judged(bench, exported)

    def corrections(self) -> Sequence[str]:
        """See ``escalation.Workshop``; biases can be corrected in every model."""
        from stages.paddle.compression.equalization import Equalized, can_equalize

        if can_equalize(self.base):
            return PTQ_ONLY
        self.context.info(Equalized().told())
        return PTQ_ONLY[1:]

    def rank(self, step: Step) -> Sequence[str]:
        """See ``escalation.Workshop``; blocks that are known are kept should it be interrupted."""
        exported = self._kept(step.base)
        work = self.context.work / _slug(step.name)
        work.mkdir(exist_ok=True)
        some = self._some(self.options.ranked_images)
        with closing(self._bench(exported)) as bench:
            base = bench.build(bench.base, tune=False)
            return [damage.block for damage in rank(bench, base, some, _within(self.context, work, work))]

    def result(self, step: Step, out: Path) -> None:
        """Copy the model of a step, with the curves of its distillation, to ``out``."""
        kept = self._kept(step.name)
        for name in (*MODEL_FILES, EQUALIZED_FILE):
            if name in kept.files:
                shutil.copyfile(kept.path(name), out / name)
        curves = self.context.work / _slug(step.base or step.name) / "quantized"
        for name in CURVES:
            if (curves / name).is_file():
                shutil.copyfile(curves / name, out / name)

    def folder(self, step: Step) -> Path:
        return self.context.work / _slug(step.name)

    # --- making ---------------------------------------------------------------------------------------------------

    def _quantized(self, step: Step, out: Path) -> QuantizedModel:
        from stages.paddle.compression.ptq import quantize

        options = self._compression(method=PTQ, ptq_algo=step.algorithm, **dict.fromkeys(step.corrections, True))
        known = None if options.equalize else self._ranges()[step.algorithm]
        images = self._observed(options.batch)
        quantize(self.base, images, options, _within(self.context, out, self.context.work), known)
        (out / CURVES[0]).write_text("[]", encoding="utf-8")
        return QuantizedModel(root=out, files=hash_files(out), method=PTQ, steps=0, images=self.images.count)

    def _ranges(self) -> dict[str, dict[str, float]]:
        """By every algorithm; observed once."""
        from stages.paddle.compression.ptq import observe_all

        file = self.context.work / RANGES_FILE
        if not file.is_file():
            images = self._observed(self.options.batch)
            found = observe_all(self.base, images, self._compression(method=PTQ), self.context, ALGORITHMS)
            put_text(file, json.dumps(found))
        known: dict[str, dict[str, float]] = records.read(file, dict[str, dict[str, float]])
        return known

    def _observed(self, batch: int) -> UnlabeledImages:
        """What ranges are observed on."""
        paths = listed_paths(self.calibration or self.images)
        return images_for(self.base, paths, batch=batch, seed=self.context.seed)

    def _distilled(self, step: Step, out: Path) -> QuantizedModel:
        """At a constant rate, so that a longer distillation continues from the checkpoint of the shorter one."""
        work = self.context.work / f"distillation-{step.algorithm}"
        work.mkdir(exist_ok=True)
        options = self._compression(
            method=QAT_DISTILL,
            steps=step.steps,
            lr_schedule="constant",
            activation_ranges=MOVING_AVERAGE if step.algorithm == "avg" else step.algorithm,
            eval_by="loss",
            eval_every=min(self.options.eval_every, self.options.round_steps) if self.options.eval_every else None,
        )
        inputs = DistillInputs(self.base, self.images, None, self.calibration)
        return Distill(options).run(inputs, _within(self.context, out, work))

    def _mixed(self, step: Step, folder: Path) -> Judgement:
        base = self._kept(step.base)
        with closing(self._bench(base)) as bench:
            mixed = bench.export(step.blocks)
            shutil.copytree(mixed.root, folder / "exported")
            return self._judged(bench, mixed, timed=True)

    def _exported(self, made: QuantizedModel, out: Path) -> ExportedModel:
        options = ExportOptions(
            batch=self.base.batch, opset=self.options.opset, model=self.options.model, precision=Precision.INT8.value
        )
        return Export(options).run(ExportInputs(made, self.images), _within(self.context, out, self.context.work))

    def _kept(self, name: str) -> ExportedModel:
        """The exported model of a step that was done."""
        root = self.context.work / _slug(name) / "exported"
        return replace(self.base, root=root, files=hash_files(root), key="", precision=Precision.INT8, agreement={})

    def _compression(self, **changes: Any) -> DistillOptions:
        """The options of a single compression."""
        own = {f.name: getattr(self.options, f.name) for f in fields(DistillOptions)}
        return DistillOptions(**{**own, "target_map": None, **changes})

    # --- judging --------------------------------------------------------------------------------------------------

    def _bench(self, model: ExportedModel) -> MixedPrecisionBench:
        o = self.options
        options = SensitivityOptions(backend=o.backend, options=o.options, nms=o.nms, opset=o.opset)
        return MixedPrecisionBench(self.base, model, options, self.context)

    def _judged(self, bench: MixedPrecisionBench, model: ExportedModel, *, timed: bool = False) -> Judgement:
        seed, keep = self.context.seed, self.pictures.coco is None
        fp32 = bench.build(bench.base, tune=False) if timed or self._reference is None else None
        if self._reference is None:
            assert fp32 is not None
            self._reference = bench.evaluate(fp32, self.pictures, keep=keep)
        reference = self._reference
        engine = bench.build(model, tune=timed)
        seen = bench.evaluate(engine, self.pictures, keep=keep)
        if reference.matches is not None and seen.matches is not None:
            judgement = judge_map(
                reference.matches, seen.matches, reference.map - seen.map, len(self.pictures.paths), seed
            )
        else:
            pairs = zip(seen.outputs, reference.outputs, strict=True)
            judgement = judge_distance([output_distance(*own, *base) for own, base in pairs], seed)
        if fp32 is not None and timed:
            judgement = replace(judgement, speedup=bench.speed(fp32, engine, self.pictures)[0])
        return judgement

    def _some(self, count: int) -> ImageSet:
        """The first ``count`` of the pictures."""
        coco = self.pictures.coco
        if coco is None or len(self.pictures.paths) <= count:
            return ImageSet(self.pictures.paths[:count], coco)
        images = coco["images"][:count]
        ids = {image["id"] for image in images}
        kept = [a for a in coco["annotations"] if a["image_id"] in ids]
        return ImageSet(self.pictures.paths[:count], {**coco, "images": images, "annotations": kept})


def without(images: ImageList, held_out: Sequence[Path], folder: Path) -> ImageList:
    """The list without those images, by their content: a copy of one counts as that one.

    Raises:
        DataError: none is left.
    """
    apart = {sha256_of(path) for path in held_out}
    entries = json.loads(images.path("images.json").read_text(encoding="utf-8"))
    kept = [entry for entry in entries if entry["sha256"] not in apart]
    if not kept:
        raise DataError(
            "every image to compress with is one that compressions are judged on; give more unlabeled images "
            "(data.unlabeled_images) or lower compression.judge_images"
        )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "images.json").write_text(json.dumps(kept), encoding="utf-8")
    return replace(images, root=folder, files=hash_files(folder), key="", count=len(kept))


@dataclass
class _Within:
    """The stage's context with other folders: what a step says is said by the search."""

    outer: StageContext
    out: Path
    work: Path
    seed: int
    threads: int
    cores: int

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        self.outer.metric(name, value, step)

    def progress(self, done: int, total: int, **values: float) -> None:
        self.outer.progress(done, total, **values)

    def warn(self, message: str) -> None:
        self.outer.warn(message)

    def info(self, message: str) -> None:
        self.outer.info(message)

    def detail(self, message: str) -> None:
        self.outer.detail(message)


def _within(outer: StageContext, out: Path, work: Path) -> _Within:
    return _Within(outer, out, work, outer.seed, outer.threads, outer.cores)


def _slug(name: str) -> str:
    """A step's name as the name of a folder: short, whatever blocks it lists."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower())[:60] + "-" + hashlib.sha256(name.encode()).hexdigest()[:8]


def _emptied(folder: Path) -> Path:
    """The folder, without what an interrupted try has left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
