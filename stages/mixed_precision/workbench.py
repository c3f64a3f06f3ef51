"""Engines of mixed precision, made, run and timed: for the sensitivity analysis and the search for float blocks."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages import backends
from stages.artifacts import EQUALIZED_FILE, LAYERS_FILE, Engine, ExportedModel, ImageList, LabeledSet, hash_files
from stages.backends.base import Unavailable
from stages.backends.detector import open_detector
from stages.build.build import Build, BuildInputs
from stages.contract import StageContext
from stages.detection.average_precision import summarize
from stages.detection.images import evenly_spaced
from stages.detection.inference import RawOutputs
from stages.detection.matching import Matches, Truth, match
from stages.detection.results import class_to_category, gather
from stages.detection.sidecar import FILE_NAME
from stages.detection.unlabeled import listed_paths
from stages.errors import DataError, StageError, UnavailableError
from stages.latency.engine_process import started
from stages.latency.timed_engine import RUNTIME, Setup
from stages.latency.timing import Plan, choose_cpus, measure, speedup
from stages.mixed_precision.blocks import group
from stages.options.backend import BuildOptions
from stages.options.sensitivity import SensitivityOptions
from stages.outside import names, records

Floats = npt.NDArray[np.float32]
TIMED = Plan(warmup=10, runs=60, rounds=6, max_seconds=20.0)
"""For the speed-up of a mixture; the run's own timing (`stages/latency/latency.py`) takes more runs, later."""


@dataclass(frozen=True)
class ImageSet:
    """Images to look at: paths, and their labels as COCO's content where there are any."""

    paths: list[Path]
    coco: dict[str, Any] | None = None


@dataclass(frozen=True)
class EngineOutputs:
    """What an engine made of the pictures: raw outputs (if they were kept) and the fate of its detections."""

    outputs: list[tuple[Floats, Floats]] = field(default_factory=list)
    matches: Matches | None = None

    @property
    def map(self) -> float:
        """mAP in points. StageError without labels, or where they hold no box."""
        found = None if self.matches is None else summarize(self.matches)["AP"]
        if found is None:
            raise StageError(
                "the images that the blocks are judged on hold no labelled box; set sensitivity.images or "
                "sensitivity.verdict_images higher, or choose other labels (sensitivity.labels)"
            )
        return 100 * float(found)


def labelled(labels: LabeledSet, count: int | None) -> ImageSet:
    """``count`` images of a labelled set (all by default), evenly spread over it."""
    coco = json.loads(labels.path("annotations.json").read_text(encoding="utf-8"))
    images = evenly_spaced(coco["images"], count)
    ids = {image["id"] for image in images}
    kept = [a for a in coco["annotations"] if a["image_id"] in ids]
    paths = [names.image_path(Path(labels.images_root), image) for image in images]
    return ImageSet(paths, {**coco, "images": images, "annotations": kept})


def unlabelled(images: ImageList, count: int) -> ImageSet:
    """``count`` images of a list, evenly spread over it."""
    paths = evenly_spaced(listed_paths(images), count)
    if not paths:
        raise DataError("there are no unlabeled images to judge blocks on; check data.unlabeled_images.")
    return ImageSet(paths)


class MixedPrecisionBench:
    """Makes mixtures of one INT8 model and its FP32 model, and looks at them. Its folder goes when it is closed."""

    def __init__(
        self, base: ExportedModel, model: ExportedModel, options: SensitivityOptions, context: StageContext
    ) -> None:
        from stages.paddle.compression import equalization, mixing

        state = backends.get(options.backend).availability()
        if isinstance(state, Unavailable):
            raise UnavailableError(f"backend {options.backend} is unavailable: {state}")
        self.base, self.model, self.options, self.context = base, model, options, context
        self._scratch = tempfile.TemporaryDirectory(prefix="detpress-")
        self._made = 0
        self.layers = mixing.float_layers(base)
        if EQUALIZED_FILE in model.files:  # layers in float have to fit those around them
            factors = records.read(model.path(EQUALIZED_FILE), dict[str, dict[str, list[float]]])
            self.layers = equalization.applied(self.layers, factors)
        self.work = mixing.quantized_layers(model)
        names = json.loads(base.path(LAYERS_FILE).read_text(encoding="utf-8"))
        self.blocks = group(names, self.work)
        if not names:
            context.info("this model's layers have no names of PaddleDetection's; each is a block of its own")

    def close(self) -> None:
        self._scratch.cleanup()

    def share(self, block: str) -> float:
        """The block's share of the multiply-adds of all quantized layers."""
        return sum(self.work[name] for name in self.blocks[block]) / sum(self.work.values())

    def export(self, floats: Collection[str]) -> ExportedModel:
        """The INT8 model with these blocks in float, in both of its forms."""
        from stages.paddle.compression import mixing
        from stages.paddle.models.onnx_export import export_onnx

        out = self._folder("model")
        mixing.mix(self.model, self.layers, [w for b in floats for w in self.blocks[b]], out)
        program, params = out / mixing.PROGRAM, out / mixing.PARAMS
        export_onnx(program, params, out / "model.onnx", opset=self.options.opset)
        for name in (FILE_NAME, EQUALIZED_FILE):
            if name in self.model.files:
                shutil.copyfile(self.model.path(name), out / name)
        return replace(self.model, root=out, files=hash_files(out), key="", agreement={})

    def build(self, model: ExportedModel, *, tune: bool) -> Engine:
        """Its engine; ``tune=False`` skips choosing kernels by timing, which moves no number."""
        options = dict(self.options.options)
        if not tune and "tune" in options:
            options["tune"] = False
        stage = Build(BuildOptions(backend=self.options.backend, options=options))
        c = self.context
        quiet = _Quiet(self._folder("engine"), self._folder("work"), c.seed, c.threads, c.cores)
        return stage.run(BuildInputs(model=model), quiet)

    def forget(self, *made: ExportedModel | Engine) -> None:
        """Free the disk that these take."""
        for one in made:
            shutil.rmtree(one.root, ignore_errors=True)

    def evaluate(self, engine: Engine, pictures: ImageSet, *, keep: bool = False) -> EngineOutputs:
        """Run an engine over the pictures; ``keep`` its outputs. StageError if they are not finite."""
        outputs: list[tuple[Floats, Floats]] = []
        found: list[tuple[int, Floats]] = []
        with open_detector(engine, self.options.nms) as detector:
            for i, seen in enumerate(detector.runner.over(pictures.paths)):
                if not seen.finite:
                    name = pictures.paths[i].name
                    raise StageError(
                        f"a mixture of FP32 and INT8 gives NaN or infinite values on {name}; compress the model again"
                    )
                if keep:
                    assert isinstance(seen, RawOutputs)  # what is mixed here has NMS outside
                    outputs.append((seen.boxes.copy(), seen.scores.copy()))
                if pictures.coco is not None:
                    found.append((pictures.coco["images"][i]["id"], seen.detections(self.options.nms)))
        if pictures.coco is None:
            return EngineOutputs(outputs)
        truth = Truth.from_coco(pictures.coco)
        categories = class_to_category(list(detector.sidecar.labels), pictures.coco, self.context)
        return EngineOutputs(outputs, match(truth, gather(found, truth, categories)))

    def speed(self, base: Engine, engine: Engine, pictures: ImageSet) -> tuple[float, float]:
        """(times as fast as ``base``, milliseconds per run of ``base``), timed in turns in processes of their own."""
        threads = int(engine.options.get("threads", 1))
        try:
            cpus = choose_cpus(threads)
        except ValueError:  # fewer CPUs than threads: unpinned then, as the ratio is all that counts here
            cpus = []
        images = [str(path) for path in pictures.paths[: max(1, engine.batch)]]
        setups = [Setup(one, images, self.options.nms, threads, cpus) for one in (base, engine)]
        with started(setups, self._folder("timing")) as processes:
            first, second = measure([process.task(RUNTIME) for process in processes], TIMED)
            for process in processes:
                process.closing()
        return float(speedup(first, second)["median"]), 1e3 * float(np.median(first.all()))

    def _folder(self, kind: str) -> Path:
        self._made += 1
        folder = Path(self._scratch.name) / f"{kind}-{self._made}"
        folder.mkdir()
        return folder


@dataclass
class _Quiet:
    """A StageContext that discards metrics, progress and messages."""

    out: Path
    work: Path
    seed: int
    threads: int
    cores: int

    def metric(self, name: str, value: float, step: int | None = None) -> None: ...

    def progress(self, done: int, total: int, **fields: float) -> None: ...

    def warn(self, message: str) -> None: ...

    def info(self, message: str) -> None: ...

    def detail(self, message: str) -> None: ...
