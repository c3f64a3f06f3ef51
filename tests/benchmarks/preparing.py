"""Engines of `make bench-backends` and `bench-table`: ours by detpress's own pipeline, rivals' from the same model."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose

from pipelines.config.compose import Command, hydra_for
from pipelines.config.load import examine
from pipelines.config.schema import PipelineConfig, register
from pipelines.execution.events import NullObserver, StageInfo
from pipelines.execution.runner import Node, Ref, Runner, RunnerSettings
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import with_labels
from pipelines.store.local import Store
from stages import backends
from stages.artifacts import Artifact, Engine, ImageList
from tests.benchmarks.drawn import DrawnOptions
from tests.benchmarks.rivals import NncfOptions, StaticOptions

KEPT = ("images.unlabeled", "export.", "lighten", "distill", "build.")
"""What of a compression is needed for its engines."""


class Progress(NullObserver):
    """A line on stderr for each stage that begins or ends."""

    def stage_started(self, stage: StageInfo) -> None:
        print(f"{stage.id} ...", file=sys.stderr, flush=True)

    def stage_finished(self, stage: StageInfo, artifact: Artifact, cached: bool, seconds: float) -> None:
        print(f"{stage.id}: {'from the last call' if cached else f'{seconds:.0f} s'}", file=sys.stderr, flush=True)

    def stage_failed(self, stage: StageInfo, error: Exception, seconds: float) -> None:
        print(f"{stage.id} failed: {error}", file=sys.stderr, flush=True)


def prepare(folder: Path, model: str, images: int) -> tuple[dict[str, Engine], ImageList]:
    """The engines by name, and the images that they were calibrated on.

    What was made by an earlier call with the same inputs is taken from ``folder``'s store. The names: ``ort_fp32``,
    ``ort_int8``, ``openvino_fp32``, ``openvino_int8``, ``quantize_static_qdq``, ``quantize_static_qoperator``,
    ``nncf``; where OpenVINO's default is not to compute in float32 also ``openvino_int8_default`` and ``nncf_default``.
    """
    config = config_of(folder, model, images, "backend.openvino.variants=[fp32,int8]")
    artifacts = made(folder, config, [*own_nodes(config), *_rivals()])
    names = {
        "build.onnxruntime.fp32": "ort_fp32",
        "build.onnxruntime.int8": "ort_int8",
        "build.openvino.fp32": "openvino_fp32",
        "build.openvino.int8": "openvino_int8",
    }
    engines = {names.get(node, node): a for node, a in artifacts.items() if isinstance(a, Engine)}
    if (hint := default_hint()) != "f32":
        for name in ("openvino_int8", "nncf"):  # the same files, opened otherwise
            options = {**engines[name].options, "precision_hint": hint}
            engines[f"{name}_default"] = dataclasses.replace(engines[name], options=options)
    return engines, images_of(artifacts)


def made(folder: Path, config: PipelineConfig, nodes: list[Node]) -> dict[str, Artifact]:
    """What the ``nodes`` make, by node; ends the program with the first failure."""
    runner = Runner(Store(folder), Progress(), RunnerSettings(config.seed), logs=folder / "logs")
    results = runner.run(nodes)
    if results.failures:
        name, failure = next(iter(results.failures.items()))
        raise SystemExit(f"{name} failed: {failure}; its log is in {folder / 'logs'}")
    return results.artifacts


def images_of(artifacts: Mapping[str, Artifact]) -> ImageList:
    """The images that the engines were calibrated on."""
    listed = artifacts["images.unlabeled"]
    assert isinstance(listed, ImageList)
    return listed


def config_of(folder: Path, model: str, images: int, *more: str) -> PipelineConfig:
    """detpress's defaults for post-training quantization, on drawn images of the network's size; ``more`` overrides."""
    pictures = folder / "images"
    overrides = [
        *(f"model={model}", "model.random_weights=true", "data=coco_folder", f"data.root={folder}"),
        *("data.val_annotations=null", f"data.unlabeled_images={pictures}", "backend=[onnxruntime,openvino]"),
        *("compression=ptq", f"compression.images={images}", f"compression.calibration_images={images}"),
        "export.agreement_images=1",
        *more,
    ]
    register()
    with hydra_for(Command(overrides)):
        config, problems = examine(compose("config", overrides), inputs=False)
    if problems:
        raise SystemExit(str(problems[0]))
    _draw(pictures, images, config.model.input_size)
    return with_labels(config)


def _draw(folder: Path, count: int, size: list[int]) -> None:
    """Drawn shapes; files that are there already stay as they are, since their time is part of a key."""
    import cv2

    from stages.detection.shapes import draw_image

    folder.mkdir(parents=True, exist_ok=True)
    for extra in set(folder.iterdir()) - {folder / f"{i}.png" for i in range(count)}:
        extra.unlink()
    for i in range(count):
        path = folder / f"{i}.png"
        if not path.is_file():
            cv2.imwrite(str(path), draw_image(7, "unlabeled", i, *size)[0])


def own_nodes(config: PipelineConfig) -> list[Node]:
    """The stages that make detpress's engines of a detector with drawn weights."""
    whole = compress_graph(config, Ref("weights"), threads=1)
    images, *rest = [node for node in whole if node.id.startswith(KEPT)]
    weights = Node(
        id="weights", stage="tests.benchmarks.drawn:DrawnDetector", options=DrawnOptions(config.model),
        inputs={"images": Ref(images.id)}, seeded=True,
    )  # fmt: skip
    return [images, weights, *rest]


def _rivals() -> list[Node]:
    forms = ("QDQ", "QOperator")
    rivals = [_rival(f"quantize_static_{form.lower()}", "QuantizeStatic", StaticOptions(form)) for form in forms]
    return [*rivals, _rival("nncf", "Nncf", NncfOptions())]


def _rival(name: str, stage: str, options: Any) -> Node:
    backend = "openvino" if stage == "Nncf" else "onnxruntime"
    inputs: Mapping[str, Ref] = {"model": Ref("export.fp32"), "images": Ref("images.unlabeled")}
    return Node(
        id=name, stage=f"tests.benchmarks.rivals:{stage}", options=options, inputs=inputs,
        fingerprint=backends.get(backend).fingerprint(),
    )  # fmt: skip


def default_hint() -> str:
    """What OpenVINO computes float layers in here if nobody says (``f32``, ``bf16`` or ``f16``)."""
    import openvino
    from openvino import opset8

    image = opset8.parameter([1, 8], openvino.Type.f32)
    model = openvino.Model([opset8.relu(image)], [image])
    hint = openvino.Core().compile_model(model, "CPU").get_property("INFERENCE_PRECISION_HINT")
    return str(hint.get_type_name())


def difference(base: Engine, other: Engine, images: ImageList) -> dict[str, float]:
    """How far ``other``'s outputs are from ``base``'s on one image: the root of the mean squared difference.

    Returns ``boxes_px`` (pixels) and ``scores`` (probability, where either finds more than 0.01).
    """
    import numpy as np

    from stages.latency.timed_engine import Setup, open_timed_engine
    from stages.options.accuracy import NmsOptions

    path = json.loads(images.path("images.json").read_text())[0]["path"]
    found = []
    for engine in (base, other):
        with open_timed_engine(Setup(engine, [path], NmsOptions(), 1), watched=False) as opened_engine:
            found.append([np.asarray(v, np.float64) for v in opened_engine.pair.runtime(0)])
    (boxes, scores), (boxes2, scores2) = found
    seen = np.maximum(scores, scores2) > 0.01

    def rms(values: Any) -> float:
        return float(np.sqrt(np.mean(values**2))) if values.size else 0.0

    return {"boxes_px": rms(boxes - boxes2), "scores": rms((scores - scores2)[seen])}
