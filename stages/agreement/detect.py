"""Stage ``detect``: what engines find on a few unlabeled images, for `stages/agreement/agreement.py` to compare.

Given models in place of engines it makes the *reference*: the exported ONNX graph, run node by node as the file says,
with no fusion and no kernel of a lower precision. From an INT8 file the passes of ``REFERENCE`` take first what every
backend takes away (the quantized tail, ranges that nobody measured).

``detected.json``::

    schema_version
    images        their names
    precisions    {"fp32": {"finite": bool}, ...}: of each variant whether all outputs were numbers; "nms_in": "graph"
                  of an engine that does NMS itself, whose outputs before it nobody sees

``PRECISION.npz`` holds ``image`` (number), ``category`` (class of the model), ``score`` and ``box`` (x, y, width,
height) in pixels of the image, a row per detection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stages.artifacts import Detected, Engine, ExportedModel, ImageList, Precision, hash_files
from stages.backends.base import Array, Feeds
from stages.backends.detector import open_detector
from stages.contract import StageContext
from stages.detection.inference import ImageRunner
from stages.detection.matching import Detections
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.detection.unlabeled import listed_paths
from stages.errors import StageError
from stages.options.agreement import DetectOptions

SCHEMA_VERSION = 1
REFERENCE = ("lift_zero_scales", "float_tail", "drop_unobserved")

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class DetectInputs:
    """Engines of one backend, or models for the reference; at most one of each variant."""

    images: ImageList
    engines: list[Engine] = field(default_factory=list)
    models: list[ExportedModel] = field(default_factory=list)


class Detect:
    """The stage."""

    name: ClassVar[str] = "detect"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless", "onnxruntime", "onnx")
    Options: ClassVar[type] = DetectOptions
    Inputs: ClassVar[type] = DetectInputs
    Output: ClassVar[type[Detected]] = Detected

    def __init__(self, options: DetectOptions) -> None:
        self.options = options

    def run(self, inputs: DetectInputs, context: StageContext) -> Detected:
        """Raises UnavailableError if the backend cannot run here."""
        paths = listed_paths(inputs.images)[: self.options.images]
        given: Sequence[Engine | ExportedModel] = [*inputs.engines, *inputs.models]
        precisions: dict[str, dict[str, Any]] = {}
        for number, model in enumerate(given):
            with self._opened(model) as runner:
                found, finite = self._detect(runner, paths, context, number, len(given))
            np.savez(context.out / f"{model.precision}.npz", **found.__dict__)
            inside = isinstance(model, Engine) and model.nms_inside
            precisions[str(model.precision)] = {"finite": finite, **({"nms_in": "graph"} if inside else {})}
        content = {"schema_version": SCHEMA_VERSION, "images": [path.name for path in paths], "precisions": precisions}
        (context.out / "detected.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        backend = inputs.engines[0].backend if inputs.engines else ""
        return Detected(root=context.out, files=hash_files(context.out), backend=backend, precisions=list(precisions))

    @contextmanager
    def _opened(self, model: Engine | ExportedModel) -> Iterator[ImageRunner]:
        if isinstance(model, Engine):
            with open_detector(model, self.options.nms) as detector:
                yield detector.runner
            return
        yield ImageRunner(model, Sidecar.read(model.path(FILE_NAME)), NodeByNode(model).infer, model.batch)

    def _detect(
        self, runner: ImageRunner, paths: Sequence[Path], context: StageContext, number: int, of: int
    ) -> tuple[Detections, bool]:
        """Detections of all images, and whether every output was a number (images with others have no detections)."""
        rows: list[Floats] = []
        images: list[int] = []
        finite = True

        def progress(done: int) -> None:
            context.progress(number * len(paths) + done, of * len(paths))

        for i, seen in enumerate(runner.over(paths, progress)):
            if not seen.finite:
                finite = False
                continue
            kept = seen.detections(self.options.nms)
            rows.append(kept)
            images += [i] * len(kept)
        found = np.concatenate([np.empty((0, 6), np.float32), *rows]).astype(np.float64)
        corner = found[:, 2:4]
        box = np.concatenate([corner, found[:, 4:6] - corner], axis=1)
        return Detections(np.array(images, np.int32), found[:, 0].astype(np.int32), found[:, 1], box), finite


class NodeByNode:
    """The exported graph in ONNX Runtime with every optimization off: what the file says, as exactly as it can be."""

    def __init__(self, model: ExportedModel) -> None:
        import onnx
        import onnxruntime as ort

        from stages.lowering.passes import lower

        graph: Any = onnx.load(str(model.path("model.onnx")))
        if model.precision is Precision.INT8:
            graph, _ = lower(graph, REFERENCE)
        settings = ort.SessionOptions()
        settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        settings.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(graph.SerializeToString(), settings, ["CPUExecutionProvider"])
        except Exception as error:  # ORT's exceptions share no base class but Exception
            text = str(error).strip().splitlines()[0]
            raise StageError(f"the exported graph cannot be run as a reference: {text}; export it again") from error
        self._outputs = [model.boxes_output, model.scores_output]

    def infer(self, feeds: Feeds) -> list[Array]:
        found: list[Array] = self._session.run(self._outputs, feeds)
        return found


def load_detections(detected: Detected, precision: str) -> Detections:
    """What `Detect` wrote of one variant."""
    with np.load(detected.path(f"{precision}.npz")) as data:
        return Detections(data["image"], data["category"], data["score"], data["box"])
