"""What a bundle, or one ONNX file out of one, finds in images."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from stages.bundle.contents import unpack
from stages.bundle.metadata import Described, open_file
from stages.bundle.predict import predict


def predictions(
    model: Path, images: Sequence[Path], out: Path | None = None, threshold: float | None = None
) -> Iterator[dict[str, Any]]:
    """A record for each image, see `stages.bundle.predict.predict`, and what it raises.

    Args:
        model: a bundle's zip file, or an ONNX file out of one.
        out: folder for pictures; ``None``: none.
        threshold: least score, 0 to 1; ``None``: what the bundle or file says.
    """
    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        if model.suffix.lower() == ".onnx":
            opened = open_file(model, Path(folder))
        else:
            bundle = unpack(model, Path(folder))
            opened = Described(bundle.name, bundle.engine, bundle.nms, bundle.record["draw_threshold"])
        yield from predict(opened, images, out, opened.draw_threshold if threshold is None else threshold)
