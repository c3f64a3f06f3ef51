"""Stage ``bundle``: everything that one engine needs elsewhere, and what proves there that it works.

`stages/bundle/contents.py` draws the folder. The golden images are run through the engine as the bundle has it; what it
finds is what `detpress verify` expects on another machine.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from stages.artifacts import Bundle, Engine, ExportedModel, ImageList, LabeledSet, Thresholds, hash_files
from stages.backends.detector import Detector, open_detector
from stages.bundle import bom, card, deepstream, layouts, paddle_form, paddle_serving, thresholds
from stages.bundle.contents import ENGINE, GOLDEN, PADDLE, RECORD, SCHEMA_VERSION, write_sums
from stages.bundle.facts import Facts, collect
from stages.bundle.metadata import about, describe, onnx_beside
from stages.bundle.verify import golden_map
from stages.codec import to_json
from stages.contract import StageContext
from stages.detection.images import evenly_spaced, read_image
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import DataError
from stages.options.bundle import BundleOptions
from stages.options.model import INTERPOLATIONS
from stages.outside import names
from stages.report.schema_thresholds import MovedThresholds

_MIN_SCORE = 0.05
"""Fainter golden detections are not kept: nobody acts on them, and they differ between machines."""

NOTICE = """\
# What is in this bundle, and under which terms

- The model's architecture, and the code that trained and exported it, come from PaddleDetection and PaddleSlim
  (Apache-2.0).
- The weights carry the terms of what they were trained on: the start checkpoint and the training images. Check them
  before you pass this bundle on.
- The golden images under `golden/` are copies from the data set of the run; the same goes for them.
- The files were written by detpress (Apache-2.0). The runtime is not in the bundle: `requirements.txt` names it.
"""


class BundleStage:
    """Collects the files and runs the golden images."""

    name: ClassVar[str] = "bundle"
    version: ClassVar[int] = 4  # 2: ONNX files say what they are; NMS in paddle/. 3: a card, a BOM. 4: `onnx_beside`
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless", "onnx")
    Options: ClassVar[type] = BundleOptions
    Output: ClassVar[type[Bundle]] = Bundle

    @dataclass(frozen=True)
    class Inputs:
        engine: Engine
        exported: ExportedModel
        labeled: LabeledSet | None = None
        images: ImageList | None = None
        thresholds: Thresholds | None = None

    def __init__(self, options: BundleOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> Bundle:
        """Raises DataError if there is no image to run."""
        o, out = self.options, context.out
        engine = inputs.engine
        sidecar = Sidecar.read(engine.path(FILE_NAME))
        moved = thresholds.of_engine(inputs.thresholds, engine)
        _copy(engine, engine.files, out / ENGINE)
        if moved is not None:
            thresholds.add_to_sidecar(out / ENGINE / FILE_NAME, moved)
        paddle_form.write(inputs.exported, o.nms, out / PADDLE)
        if reason := paddle_form.why_not(inputs.exported):
            context.warn(f"{PADDLE}/ is no model for PaddleDetection's scripts: {reason}")
        onnx = f"{ENGINE}/{engine.main}"
        if not engine.main.endswith(".onnx"):
            onnx = "model.onnx"
            onnx_beside(engine, inputs.exported, out / onnx)
        inside = engine.inside if onnx.startswith(ENGINE) else None
        said = about(engine, sidecar, inputs.exported, run_id=o.run_id, model=o.model, nms=o.nms, inside=inside)
        describe(out / onnx, {**said, "thresholds": moved} if moved is not None else said)
        engine = dataclasses.replace(engine, root=out / ENGINE, files=hash_files(out / ENGINE))
        if o.layout == layouts.DEEPSTREAM:
            deepstream.write(inputs.exported, engine, sidecar, o.nms, out / o.layout, moved)
        elif o.layout == layouts.PADDLE_SERVING:
            paddle_serving.write(engine, out / PADDLE, out / o.layout)
        else:
            layouts.write(engine, o.layout, o.model, sidecar.labels, out / o.layout)
        (out / "labels.txt").write_text("".join(f"{label}\n" for label in sidecar.labels), encoding="utf-8")
        coco = _golden_images(inputs, o.golden, out / GOLDEN)
        with open_detector(engine, o.nms) as detector:
            quick = _expect(detector, out / GOLDEN, coco, context)
        record = self._record(engine, sidecar, onnx, quick, moved)
        (out / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        needed = {name: o.versions[name] for name in o.requirements if name in o.versions}
        (out / "requirements.txt").write_text("".join(f"{n}=={v}\n" for n, v in needed.items()))
        (out / "NOTICE.md").write_text(NOTICE)
        self._describe(record, engine, inputs.exported, needed, out)
        write_sums(out)
        return Bundle(
            root=out,
            files=hash_files(out),
            backend=engine.backend,
            precision=engine.precision,
        )

    def _describe(
        self, record: dict[str, Any], engine: Engine, exported: ExportedModel, needed: dict[str, str], out: Path
    ) -> None:
        """The model card and, over all files there are by then, the bill of materials."""
        nms = self.options.nms
        facts = cast(Facts, {**collect(None, None), **self.options.facts})
        where = "in the engine" if engine.nms_inside else "outside of the engine"
        reason = paddle_form.why_not(exported)
        paddle = "`paddle/` runs in PaddleDetection's deploy scripts and FastDeploy, with NMS in it."
        if reason is not None:
            paddle = f"`paddle/` is the model as it was exported: {reason}."
        said = f"{where} (IoU {nms.nms_threshold:g}, scores above {nms.score_threshold:g})"
        (out / card.FILE).write_text(card.render(record, facts, paddle=paddle, nms=said), encoding="utf-8")
        bill = bom.bill(record, facts, hash_files(out), needed)
        (out / bom.FILE).write_text(json.dumps(bill, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    def _record(
        self, engine: Engine, sidecar: Sidecar, onnx: str, golden_map: float | None, moved: MovedThresholds | None
    ) -> dict[str, Any]:
        """``bundle.json``."""
        o = self.options
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": o.run_id,
            "model": o.model,
            "backend": engine.backend,
            "precision": str(engine.precision),
            "onnx": onnx,
            "engine": {**to_json(engine), "root": "", "key": ""},
            "labels": list(sidecar.labels),
            "preprocess": {
                "input_size": list(sidecar.input_size),
                "interpolation": INTERPOLATIONS[sidecar.interpolation],
                "scale": sidecar.scale,
                "mean": list(sidecar.mean),
                "std": list(sidecar.std),
            },
            "nms": to_json(o.nms),
            "draw_threshold": sidecar.draw_threshold,
            **({} if moved is None else {thresholds.KEY: moved}),
            "promised": {**o.promised, "golden_map": golden_map},
            "hardware": o.hardware,
            "versions": o.versions,
            "config": o.config,
        }


def _copy(artifact: Engine | ExportedModel, wanted: Sequence[str] | dict[str, str], folder: Path) -> None:
    for name in wanted:
        target = names.inside(folder, name, artifact.root, "files")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path(name), target)


def _golden_images(inputs: BundleStage.Inputs, count: int, folder: Path) -> dict[str, Any]:
    """Copy ``count`` images, spread evenly over the set; their labels in COCO's form (no categories: no labels)."""
    coco: dict[str, Any] = {"images": [], "annotations": [], "categories": []}
    if inputs.labeled is not None:
        source = json.loads(inputs.labeled.path("annotations.json").read_text(encoding="utf-8"))
        root = Path(inputs.labeled.images_root)
        own = [image for image in source["images"] if names.may_be_copied(image)]
        chosen = [(names.image_path(root, image), image) for image in evenly_spaced(own, count)]
        ids = {image["id"] for _, image in chosen}
        coco["annotations"] = [a for a in source["annotations"] if a["image_id"] in ids]
        coco["categories"] = source["categories"]
    elif inputs.images is not None:
        own = [
            image for image in json.loads(inputs.images.path("images.json").read_text()) if names.may_be_copied(image)
        ]
        chosen = [(names.listed_path(image), {"id": i, **image}) for i, image in enumerate(evenly_spaced(own, count))]
    else:
        chosen = []
    if not chosen:
        raise DataError("the run has no image left to take golden ones from (none that lies outside of its data set's "
                        "folder is copied); put some there, run it again, then bundle it")  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for i, (path, image) in enumerate(chosen):
        name = f"{i:03}{path.suffix.lower()}"
        read_image(path)  # an image that is gone or damaged stops here, by name
        shutil.copyfile(path, folder / name)
        known = {k: image[k] for k in ("id", "width", "height") if k in image}
        coco["images"].append({**known, "file_name": name})
    if coco["categories"]:
        (folder / "annotations.json").write_text(json.dumps(coco), encoding="utf-8")
    return coco


def _expect(detector: Detector, folder: Path, coco: dict[str, Any], context: StageContext) -> float | None:
    """Write ``expected.json``; returns the mAP on the golden images in points, if they are labelled."""
    expected: list[dict[str, Any]] = []
    found: list[Any] = []
    images = coco["images"]
    paths = [names.image_path(folder, image) for image in images]
    outputs = detector.runner.over(paths, lambda done: context.progress(done, len(images)), together=1)
    for image, seen in zip(images, outputs, strict=True):
        detections = seen.detections(detector.nms)
        found.append((image["id"], detections))
        expected.append({"file": image["file_name"], "detections": detector.as_json(detections, _MIN_SCORE)})
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    return golden_map(coco, found, list(detector.sidecar.labels)) if coco["categories"] else None
