"""What PaddleDetection's deploy scripts do with an image, as ``infer_cfg.yml`` says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def prepared(image: Path, steps: Sequence[dict[str, Any]]) -> dict[str, Array]:
    """The inputs that the scripts have to offer, by name, each of one image: image, im_shape, scale_factor."""
    pixels: Array = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    scale = np.ones(2, np.float32)
    for step in steps:
        if step["type"] == "Resize":
            height, width = step["target_size"]
            assert step["keep_ratio"] is False
            scale = np.float32([height / pixels.shape[0], width / pixels.shape[1]])
            pixels = cv2.resize(pixels, None, fx=float(scale[1]), fy=float(scale[0]), interpolation=step["interp"])
        elif step["type"] == "NormalizeImage":
            pixels = pixels.astype(np.float32) * (1 / 255 if step["is_scale"] else 1)
            if step["norm_type"] == "mean_std":
                pixels = (pixels - np.float32(step["mean"])) / np.float32(step["std"])
        else:
            assert step["type"] == "Permute"
            pixels = pixels.transpose(2, 0, 1)
    shape = np.float32(pixels.shape[1:])
    return {"image": np.ascontiguousarray(pixels, np.float32), "im_shape": shape, "scale_factor": scale}


def as_found(rows: Sequence[Sequence[float]]) -> list[dict[str, Any]]:
    """Rows (class, score, x1, y1, x2, y2), as ``detpress predict`` gives detections."""
    return [{"class": int(row[0]), "score": row[1], "box": list(row[2:])} for row in rows if row[0] > -1]
