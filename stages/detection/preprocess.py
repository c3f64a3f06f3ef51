"""Image -> network input, the same for training, calibration, timing and scoring.

Resize to the input size (aspect ratio not kept), BGR to RGB, ``(x / 255 - mean) / std``, HWC to CHW. The arithmetic on
pixels is a table of 256 entries per channel: exactly the formula's float32 results, at the cost of one look-up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from stages.detection.images import Image
from stages.detection.sidecar import Sidecar
from stages.options.model import INTERPOLATIONS

Tensor = npt.NDArray[np.float32]


class Pixels:
    """Of a network that normalises pixels itself: BGR uint8 images -> uint8 [B, h, w, 3] in RGB order, resized."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.height, self.width = sidecar.input_size
        self._interpolation = INTERPOLATIONS[sidecar.interpolation]

    def batch(self, images: Sequence[Image]) -> tuple[npt.NDArray[np.uint8], Tensor]:
        """(uint8 [B, h, w, 3], scale factors float32 [B, 2] as (y, x))."""
        import cv2

        out = np.empty((len(images), self.height, self.width, 3), np.uint8)
        scales = np.empty((len(images), 2), np.float32)
        for i, image in enumerate(images):
            height, width = image.shape[:2]
            resized: Image = image
            if (height, width) != (self.height, self.width):
                resized = cv2.resize(image, (self.width, self.height), interpolation=self._interpolation)
            cv2.cvtColor(resized, cv2.COLOR_BGR2RGB, dst=out[i])
            scales[i] = self.height / height, self.width / width
        return out, scales


class Preprocessor:
    """Callable: BGR uint8 [H, W, 3] -> (float32 [3, h, w] in RGB order, scale factors float32 [2] as (y, x))."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.height, self.width = sidecar.input_size
        self._interpolation = INTERPOLATIONS[sidecar.interpolation]
        pixel = np.arange(256, dtype=np.float32)
        if sidecar.scale:
            pixel = pixel / np.float32(255)
        mean, std = np.asarray(sidecar.mean, np.float32), np.asarray(sidecar.std, np.float32)
        self._tables: Tensor = ((pixel[None, :] - mean[:, None]) / std[:, None]).astype(np.float32)

    def __call__(self, image: Image) -> tuple[Tensor, Tensor]:
        out = np.empty((3, self.height, self.width), np.float32)
        return out, self.into(image, out)

    def into(self, image: Image, out: Tensor) -> Tensor:
        """Fill ``out`` (float32 [3, h, w], contiguous) and return the scale factors."""
        import cv2

        height, width = image.shape[:2]
        resized = image
        if (height, width) != (self.height, self.width):
            resized = cv2.resize(image, (self.width, self.height), interpolation=self._interpolation)
        planes = cv2.split(resized)
        for channel in range(3):  # plane 2 - c: BGR to RGB
            cv2.LUT(planes[2 - channel], self._tables[channel], dst=out[channel])
        return np.array([self.height / height, self.width / width], np.float32)

    def batch(self, images: Sequence[Image]) -> tuple[Tensor, Tensor]:
        """(float32 [B, 3, h, w], scale factors float32 [B, 2])."""
        out = np.empty((len(images), 3, self.height, self.width), np.float32)
        scales = np.empty((len(images), 2), np.float32)
        for i, image in enumerate(images):
            scales[i] = self.into(image, out[i])
        return out, scales
