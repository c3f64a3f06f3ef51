"""A retraining small enough for a test: drawn blocks, and a detector that finds them, exported by a stub.

All the other stages are the real ones. The "checkpoint" is a text file: how many pixels the boxes are off, and a name.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipelines.config.schema import PipelineConfig
from pipelines.execution.node import Input, Node
from pipelines.graph import compress
from stages.artifacts import Artifact, Checkpoint, ExportedModel, ImageList, Precision, hash_files
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.contract import StageContext
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.options.export import ExportOptions

SIZE, CELL = 64, 8
CELLS = SIZE // CELL


class SmallExport:
    """Writes the block detector that its checkpoint describes."""

    name: ClassVar[str] = "export"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()
    Options: ClassVar[type] = ExportOptions
    Output: ClassVar[type[ExportedModel]] = ExportedModel

    @dataclass(frozen=True)
    class Inputs:
        model: Artifact | None
        images: ImageList

    def __init__(self, options: ExportOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> ExportedModel:
        assert isinstance(inputs.model, Checkpoint)
        shift, _, name = inputs.model.path(inputs.model.weights).read_text().partition(" ")
        write_detector(context.out / "model.onnx", float(shift), name)
        for file in ("model.pdmodel", "model.pdiparams"):
            (context.out / file).write_text(name)
        Sidecar.from_model(self.options.model, boxes_output="boxes", scores_output="scores", scale_factor=False).write(
            context.out / FILE_NAME
        )
        return ExportedModel(
            root=context.out,
            files=hash_files(context.out),
            precision=Precision.FP32,
            input_size=[SIZE, SIZE],
            scale_factor=False,
            boxes_output="boxes",
            scores_output="scores",
        )


def write_detector(path: Path, shift: float, name: str) -> None:
    """image [1, 3, 64, 64] -> a box per cell of 8 x 8 pixels, its score the cell's brightness."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows, columns = np.divmod(np.arange(CELLS * CELLS), CELLS)
    corner = np.stack([columns, rows], axis=1).astype(np.float32) * CELL + np.float32(shift)
    boxes = np.concatenate([corner, corner + CELL], axis=1)[None]
    nodes = [
        helper.make_node("AveragePool", ["image"], ["cells"], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
        helper.make_node("Conv", ["cells", "grey"], ["score"], kernel_shape=[1, 1]),
        helper.make_node("Reshape", ["score", "shape"], ["scores"]),
        helper.make_node("Identity", ["grid"], ["boxes"]),
    ]
    constants = {
        "grey": np.full((1, 3, 1, 1), 1 / 3, np.float32),
        "shape": np.array([1, 1, -1], np.int64),
        "grid": boxes,
    }
    made = helper.make_graph(
        nodes,
        name or "g",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, CELLS * CELLS, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, CELLS * CELLS]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))


def small_graph(config: PipelineConfig, source: Input, *, threads: int) -> list[Node]:
    """`graph.compress_graph` with the stub in place of the export."""
    nodes = compress.compress_graph(config, source, threads=threads)
    return [dataclasses.replace(n, stage="tests.pipelines.small:SmallExport") if n.stage == "export" else n
            for n in nodes]  # fmt: skip


def draw(root: Path, split: str, count: int, seed: int, *, bright: float = 1.0) -> None:
    """``count`` more images of blocks in ``root/split``, and their labels in ``root/split.json``."""
    import cv2

    folder, file = root / split, root / f"{split}.json"
    folder.mkdir(parents=True, exist_ok=True)
    empty: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "block"}]}
    coco = json.loads(file.read_text()) if file.is_file() else empty
    rng = np.random.default_rng(seed)
    for _ in range(count):
        number = len(coco["images"]) + 1
        image = rng.integers(0, 40, (SIZE, SIZE, 3), dtype=np.uint8)
        for cell in rng.choice(CELLS * CELLS, 6, replace=False):
            row, column = divmod(int(cell), CELLS)
            image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] = int(rng.integers(180, 255))
            box = [column * CELL, row * CELL, CELL, CELL]
            annotation = {"id": len(coco["annotations"]) + 1, "image_id": number, "category_id": 1, "bbox": box}
            coco["annotations"].append({**annotation, "area": CELL * CELL, "iscrowd": 0})
        name = f"{split}-{seed}-{number}.png"
        cv2.imwrite(str(folder / name), (image * bright).astype(np.uint8))
        coco["images"].append({"id": number, "file_name": name, "width": SIZE, "height": SIZE})
    file.write_text(json.dumps(coco))


def weights(root: Path, shift: float, name: str) -> None:
    """A new FP32 "checkpoint" at the path that the config names."""
    (root / "model.pdparams").write_text(f"{shift} {name}")


def small_config(root: Path) -> PipelineConfig:
    """Retraining on ``root`` (see `draw`, `weights`) with results under ``root/artifacts``."""
    config = PipelineConfig()
    config.model.name, config.model.input_size = "blocks", [SIZE, SIZE]
    config.model.mean, config.model.std = [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    config.model.weights, config.model.labels = str(root / "model.pdparams"), ["block"]
    data = config.data
    data.name, data.root = "drawn", str(root)
    data.val_annotations, data.val_images = str(root / "val.json"), str(root / "val")
    data.unlabeled_images = str(root / "train")
    config.compression.method = "none"
    config.backend = {"onnxruntime": OnnxRuntimeOptions(tune=False)}
    config.latency.warmup, config.latency.runs, config.latency.rounds = 0, 30, 3
    config.latency.warmup_seconds, config.latency.images = 0.0, 2
    config.accuracy.draws, config.accuracy.worst = 200, 0
    config.gate.champion.min_speedup = None  # a crowded machine shows nothing about microseconds
    config.registry.golden = 2
    config.run.artifacts = str(root / "artifacts")
    config.tracking.folder = str(root / "artifacts" / "mlflow")
    return config
