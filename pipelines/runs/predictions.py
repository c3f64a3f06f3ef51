"""What a bundle, or one ONNX file out of one, finds in images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipelines.system.output import say
from stages.bundle import thresholds
from stages.bundle.contents import Opened, unpack
from stages.bundle.described import Described, open_file
from stages.bundle.predict import predict
from stages.detection.sidecar import FILE_NAME, Sidecar
from stages.errors import InputError
from stages.options.thresholds import MOVED


def predictions(
    model: Path, images: Sequence[Path], out: Path | None = None, threshold: float | str | None = None
) -> Iterator[dict[str, Any]]:
    """A record for each image, see `stages.bundle.predict.predict`, and what it raises.

    Args:
        model: a bundle's zip file, or an ONNX file out of one.
        out: folder for pictures; ``None``: none.
        threshold: least score, 0 to 1; ``None``: what the bundle or file says; ``"moved"``: the thresholds of the
            engine's own scores, which have to be in it.
    """
    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        if model.suffix.lower() == ".onnx":
            opened = open_file(model, Path(folder))
        else:
            opened = _described(unpack(model, Path(folder)))
        yield from predict(opened, images, out, _least(opened, threshold))


def _described(bundle: Opened) -> Described:
    """A bundle as what one file says of itself."""
    moved = bundle.record.get("thresholds")
    if moved is not None:
        labels = Sidecar.read(bundle.engine.path(FILE_NAME)).labels
        thresholds.require_fitting(moved, labels, f"{bundle.name}: bundle.json")
    return Described(bundle.name, bundle.engine, bundle.nms, bundle.record["draw_threshold"], moved)


def _least(opened: Described, threshold: float | str | None) -> float | list[float]:
    """The least score that is asked for; where the engine has thresholds of its own that are not, they are told."""
    moved = opened.moved
    if isinstance(threshold, str):
        if moved is None:
            raise InputError(
                f"{opened.name} has no thresholds of its own; run detpress compress with thresholds.score=SCORE, the "
                "one that your application uses on FP32, and bundle its INT8 engine; or give a number"
            )
        return thresholds.least_scores(moved)
    if moved is not None and thresholds.has_moved(moved):
        say(
            "thresholds that were tuned on FP32 belong elsewhere on this engine's scores "
            f"({thresholds.in_words(moved)}); --threshold {MOVED} uses those"
        )
    return float(opened.draw_threshold if threshold is None else threshold)
