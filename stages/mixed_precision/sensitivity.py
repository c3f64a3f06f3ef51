"""Stage ``sensitivity``: what each block of the detector costs when it is quantized, on the built engine.

``sensitivity.json``::

    schema_version, backend, model_layers (quantized ones)
    labels        where the judged images come from: "train", "val", or null (no labels: outputs are compared)
    images        how many
    fp32_map      of the FP32 engine on these images, in points; null without labels
    blocks        worst first: block, layers, share (of multiply-adds), distance, map_drop, low, high
                  (see ``stages.mixed_precision.ranking.Damage``)

``sensitivity.md`` and ``sensitivity.png`` show the same.
"""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar, cast

from stages.artifacts import ExportedModel, ImageList, LabeledSet, Sensitivity, hash_files
from stages.contract import StageContext
from stages.mixed_precision.ranking import Damage, rank
from stages.mixed_precision.workbench import MixedPrecisionBench, labelled, unlabelled
from stages.options.sensitivity import SensitivityOptions
from stages.report.schema_blocks import BlockDamage, SensitivityContent

SCHEMA_VERSION = 1
PACKAGES: tuple[str, ...] = (
    "paddlepaddle", "paddlepaddle-gpu", "paddle2onnx", "onnx", "numpy", "opencv-python-headless", "matplotlib",
)  # fmt: skip


@dataclass(frozen=True)
class SensitivityInputs:
    """``base`` and ``model`` are the FP32 and the INT8 form of one detector; without labels, outputs are compared."""

    base: ExportedModel
    model: ExportedModel
    images: ImageList
    labels: LabeledSet | None = None


class SensitivityStage:
    """Quantizes one block at a time, builds the engine and ranks the blocks by the damage."""

    name: ClassVar[str] = "sensitivity"
    version: ClassVar[int] = 3  # 2, 3: engines as `build` 7 and 8 make them
    packages: ClassVar[tuple[str, ...]] = PACKAGES
    Options: ClassVar[type] = SensitivityOptions
    Inputs: ClassVar[type] = SensitivityInputs
    Output: ClassVar[type[Sensitivity]] = Sensitivity

    def __init__(self, options: SensitivityOptions) -> None:
        self.options = options

    def run(self, inputs: SensitivityInputs, context: StageContext) -> Sensitivity:
        """Rank the blocks.

        Raises:
            UnavailableError: the backend cannot run here.
            StageError: an engine cannot be built, or gives no finite numbers.
        """
        o = self.options
        with closing(MixedPrecisionBench(inputs.base, inputs.model, o, context)) as bench:
            pictures = labelled(inputs.labels, o.images) if inputs.labels else unlabelled(inputs.images, o.images)
            base = bench.build(inputs.base, tune=False)
            found = rank(bench, base, pictures, context)
            fp32 = bench.evaluate(base, pictures).map if inputs.labels else None
        content = describe(found, o, o.labels if inputs.labels else None, len(pictures.paths), fp32)
        write(content, context.out)
        for one in found:
            context.metric(f"distance.{one.block}", one.distance)
            if one.map_drop is not None:
                context.metric(f"map_drop.{one.block}", one.map_drop)
        return Sensitivity(root=context.out, files=hash_files(context.out), backend=o.backend)


def describe(
    found: list[Damage], options: SensitivityOptions, labels: str | None, images: int, fp32_map: float | None
) -> SensitivityContent:
    """The content of ``sensitivity.json``."""
    return {
        "schema_version": SCHEMA_VERSION,
        "backend": options.backend,
        "model_layers": sum(one.layers for one in found),
        "labels": labels,
        "images": images,
        "fp32_map": fp32_map,
        "blocks": [_block(one) for one in found],
    }


def _block(damage: Damage) -> BlockDamage:
    return cast(BlockDamage, asdict(damage))


def write(content: SensitivityContent, out: Path) -> None:
    """The three files."""
    from stages.report.figures import write_png
    from stages.report.sensitivity import draw, markdown

    (out / "sensitivity.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (out / "sensitivity.md").write_text(markdown(content), encoding="utf-8")
    write_png(draw(content), out / "sensitivity.png")
