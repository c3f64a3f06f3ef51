"""Stage ``agreement``: whether every engine finds what the reference finds, on real images, without any label.

``agreement.json``::

    schema_version, images, score
    names         of the references and of the engines, by variant: the matrix's rows and columns
    f1            the matrix: share of the boxes of two engines that have a partner; symmetric, 1 on the diagonal
    engines       [{"backend", "precision", "boxes", "share", "iou", "score_difference", "largest_score_difference",
                   "bounds": {"share", "iou", "score_difference"}, "verdict": "agrees" or "disagrees", "reason",
                   "nms_in": "graph" of an engine that does NMS itself}]:
                  each engine against the reference of its weights (see ``stages/agreement/detect.py``)

An engine that disagrees is a failed row of the report. A difference of one or two boxes is never beyond the bound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from stages.agreement.detect import load_detections
from stages.agreement.likeness import Likeness, likeness
from stages.artifacts import Agreement, Detected, hash_files
from stages.contract import StageContext
from stages.detection.matching import Detections
from stages.errors import StageError
from stages.numerics.variants import VARIANTS, Variant, title_of, variant
from stages.options.agreement import AgreementOptions

SCHEMA_VERSION = 1
REFERENCE_NAME = "reference"
FREE_BOXES = 2
"""Boxes without a partner that are never held against an engine."""
FEW_BOXES = 10
AGREES, DISAGREES = "agrees", "disagrees"


@dataclass(frozen=True)
class AgreementInputs:
    """``reference`` holds one for FP32 and one for INT8; ``engines`` one entry per backend."""

    reference: Detected
    engines: list[Detected]


class AgreementStage:
    """The stage."""

    name: ClassVar[str] = "agreement"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    Options: ClassVar[type] = AgreementOptions
    Inputs: ClassVar[type] = AgreementInputs
    Output: ClassVar[type[Agreement]] = Agreement

    def __init__(self, options: AgreementOptions) -> None:
        self.options = options

    def run(self, inputs: AgreementInputs, context: StageContext) -> Agreement:
        """Metrics: ``agreement.<backend>.<precision>.share``, ``.iou`` and ``.score_difference``."""
        o = self.options
        contents = [json.loads(d.path("detected.json").read_text()) for d in (inputs.reference, *inputs.engines)]
        if any(content["images"] != contents[0]["images"] for content in contents):
            raise StageError("the engines saw different images; run again with one data set")
        named = [(d.backend, p, load_detections(d, p), content["precisions"][p])
                 for d, content in zip((inputs.reference, *inputs.engines), contents, strict=True)
                 for p in d.precisions]  # fmt: skip
        # Stable: the reference stays first of its precision. Variants follow with the weights they were built from.
        named.sort(key=lambda each: (variant(each[1]).weights, list(VARIANTS).index(each[1])))
        references = {p: found for backend, p, found, _ in named if not backend}
        engines = [
            self._judge(backend, precision, found, about, references[variant(precision).weights.value])
            for backend, precision, found, about in named
            if backend
        ]
        f1 = np.eye(len(named))
        for i, (_, _, one, _) in enumerate(named):
            for j, (_, _, other, _) in enumerate(named[:i]):
                f1[i, j] = f1[j, i] = likeness(one, other, o.score, o.score_slack).share
        content = {
            "schema_version": SCHEMA_VERSION,
            "images": len(contents[0]["images"]),
            "score": o.score,
            "names": [f"{backend or REFERENCE_NAME} {title_of(precision)}" for backend, precision, _, _ in named],
            "f1": f1.round(6).tolist(),
            "engines": engines,
        }
        (context.out / "agreement.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self._tell(engines, context)
        return Agreement(root=context.out, files=hash_files(context.out))

    def _judge(
        self, backend: str, precision: str, found: Detections, about: Mapping[str, Any], reference: Detections
    ) -> dict[str, Any]:
        o = self.options
        like = likeness(reference, found, o.score, o.score_slack)
        bounds = _bounds(variant(precision), o)
        reasons = list(_beyond(like, bounds)) if about["finite"] else ["it gives NaN or infinite values"]
        return {
            "backend": backend,
            "precision": precision,
            "boxes": like.boxes,
            "share": like.share,
            "iou": like.iou,
            "score_difference": like.score_difference,
            "largest_score_difference": like.largest_score_difference,
            "bounds": bounds,
            "verdict": DISAGREES if reasons else AGREES,
            "reason": "; ".join(reasons) or None,
            **({"nms_in": about["nms_in"]} if "nms_in" in about else {}),
        }

    def _tell(self, engines: list[dict[str, Any]], context: StageContext) -> None:
        for engine in engines:
            name = f"{engine['backend']} {engine['precision']}"
            for key in ("share", "iou", "score_difference"):
                if engine[key] is not None:
                    context.metric(f"agreement.{engine['backend']}.{engine['precision']}.{key}", engine[key])
            if engine["verdict"] == DISAGREES:
                context.warn(f"{name} disagrees with the reference: {engine['reason']}")
            elif engine["boxes"] < FEW_BOXES:
                context.warn(
                    f"{name}: only {engine['boxes']} boxes from score {self.options.score:g} on to compare, which says "
                    "little; set agreement.score lower or agreement.images higher"
                )


def _bounds(of: Variant, options: AgreementOptions) -> dict[str, float]:
    """By what computes: quantized weights, or else the float format."""
    kind = of.floats.value if of.is_float else of.weights.value
    fields = {"share": "min_share", "iou": "min_iou", "score_difference": "max_score"}
    return {name: getattr(options, f"{field}_{kind}") for name, field in fields.items()}


def _beyond(like: Likeness, bounds: dict[str, float]) -> list[str]:
    lost = like.boxes - like.matched
    if lost <= FREE_BOXES and like.iou is None:
        return []
    found = []
    if lost > max(FREE_BOXES, (1 - bounds["share"]) * like.boxes):
        found.append(f"{lost} of {like.boxes} boxes have no partner (allowed: {1 - bounds['share']:.0%})")
    if like.iou is not None and like.iou < bounds["iou"]:
        found.append(f"mean IoU of the partners {like.iou:.3f} (at least {bounds['iou']:g})")
    if like.score_difference is not None and like.score_difference > bounds["score_difference"]:
        found.append(
            f"scores differ by {like.score_difference:.3f} on average (at most {bounds['score_difference']:g})"
        )
    return found
