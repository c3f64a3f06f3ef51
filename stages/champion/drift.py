"""Stage ``drift``: what images are like, and whether new ones are like those a champion was made with.

``images.npz`` describes a sample of the images: those with the smallest sha256, which is a random sample and stays the
same while images come. ``known``: sha256 of every image of the list, bytes [N, 32]; and for the sample, float64 [M]:

    size          side of a square of the image's area, pixels
    brightness    mean grey value, 0 to 255
    boxes         how many the engine finds above the sidecar's ``draw_threshold``
    score         the highest score of the image, 0 if it finds nothing

With ``before``, only images that are not among its ``known`` ones are described, and ``drift.json`` compares the two::

    {"schema_version", "new_images", "sampled", "before", "drifted": [names],
     "features": {name: {"before", "now": medians, "distance", "p", "drifted"}}}

``distance`` is that of Kolmogorov and Smirnov: the largest difference of the two distribution functions, 0 to 1. A
feature has drifted if the distance is at least ``MIN_DISTANCE`` (less is of no consequence, however many images show
it) and p, after Holm's correction for the number of features, is below ``MAX_P`` (more is chance). Holm multiplies the
smallest of m values of p by m, the next by m - 1 and so on, and lets none fall below the one before it (S. Holm, "A
simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), 65-70).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from stages.artifacts import Engine, ImageList, ImageSummary, hash_files
from stages.backends.detector import open_detector
from stages.contract import StageContext
from stages.options.champion import DriftOptions
from stages.outside.names import listed_path

SCHEMA_VERSION = 1
FILE = "images.npz"
FEATURES = ("size", "brightness", "boxes", "score")
MIN_DISTANCE, MAX_P = 0.2, 0.01

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DriftInputs:
    """Images, the engine that looks at them, and the description to compare with (made with the same engine)."""

    images: ImageList
    engine: Engine
    before: ImageSummary | None = None


class Drift:
    """The stage."""

    name: ClassVar[str] = "drift"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy", "opencv-python-headless")
    Options: ClassVar[type] = DriftOptions
    Inputs: ClassVar[type] = DriftInputs
    Output: ClassVar[type[ImageSummary]] = ImageSummary

    def __init__(self, options: DriftOptions) -> None:
        self.options = options

    def run(self, inputs: DriftInputs, context: StageContext) -> ImageSummary:
        """With ``before``: metrics ``drift.new_images``, ``drift.FEATURE.distance`` and ``.p``; a drift warns."""
        listed = json.loads(inputs.images.path("images.json").read_text(encoding="utf-8"))
        chosen = listed
        before: dict[str, Any] = {}
        if inputs.before is not None:
            with np.load(inputs.before.path(FILE)) as stored:
                before = dict(stored)
            known = {row.tobytes() for row in before["known"]}
            chosen = [image for image in listed if bytes.fromhex(image["sha256"]) not in known]
        sample = sorted(chosen, key=lambda image: str(image["sha256"]))[: self.options.images]
        found = self._describe(sample, inputs.engine, context)
        digests = b"".join(bytes.fromhex(image["sha256"]) for image in listed)
        np.savez(context.out / FILE, known=np.frombuffer(digests, np.uint8).reshape(-1, 32), **found)  # type: ignore[arg-type]
        drifted: list[str] = []
        if before:
            content = compare({name: before[name] for name in FEATURES}, found)
            content["new_images"] = len(chosen)
            (context.out / "drift.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            drifted = content["drifted"]
            _emit(content, context)
        return ImageSummary(root=context.out, files=hash_files(context.out), count=len(sample), drifted=drifted)

    def _describe(self, sample: list[dict[str, Any]], engine: Engine, context: StageContext) -> dict[str, Floats]:
        rows: list[tuple[float, ...]] = []
        with open_detector(engine, self.options.nms) as detector:
            paths = [listed_path(listed) for listed in sample]
            for seen in detector.runner.over(paths, lambda done: context.progress(done, len(sample)), together=1):
                image, scores = seen.image, seen.detections(detector.nms)[:, 1]
                rows.append(
                    (
                        math.sqrt(image.shape[0] * image.shape[1]),
                        float(image.mean()),
                        float((scores >= detector.sidecar.draw_threshold).sum()),
                        float(scores.max(initial=0.0)),
                    )
                )
        columns = np.array(rows, np.float64).reshape(-1, len(FEATURES)).T
        return dict(zip(FEATURES, columns, strict=True))


def compare(before: dict[str, Floats], now: dict[str, Floats]) -> dict[str, Any]:
    """``drift.json`` without ``new_images``; without new images nothing has drifted."""
    features: dict[str, Any] = {}
    counts = [len(side["size"]) for side in (before, now)]
    for name in FEATURES:
        a, b = before[name], now[name]
        distance, p = kolmogorov_smirnov(a, b) if all(counts) else (0.0, 1.0)
        medians = [float(np.median(side)) if len(side) else None for side in (a, b)]
        features[name] = {"before": medians[0], "now": medians[1], "distance": distance, "p": p}
    worst = 0.0
    for rank, name in enumerate(sorted(FEATURES, key=lambda f: float(features[f]["p"]))):  # step down
        feature = features[name]
        worst = max(worst, min(1.0, (len(FEATURES) - rank) * feature["p"]))
        feature["p"] = worst
        feature["drifted"] = feature["distance"] >= MIN_DISTANCE and worst < MAX_P
    drifted = [name for name in FEATURES if features[name]["drifted"]]
    return {
        "schema_version": SCHEMA_VERSION,
        "sampled": counts[1],
        "before": counts[0],
        "drifted": drifted,
        "features": features,
    }


def kolmogorov_smirnov(a: Floats, b: Floats) -> tuple[float, float]:
    """Distance of two samples, and the chance of one as large if both came from one distribution.

    The limit of the distribution with Stephens's correction for small samples; with ties, as box counts have, the true
    chance is smaller.

    Source: W. H. Press et al., "Numerical Recipes in C" (2nd edition, 1992), 14.3, after M. A. Stephens, "Use of the
    Kolmogorov-Smirnov, Cramer-Von Mises and related statistics without extensive tables", Journal of the Royal
    Statistical Society B 32 (1970), 115-122.
    """
    points = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(side), points, side="right") / len(side) for side in (a, b)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(len(a) * len(b) / (len(a) + len(b)))
    scaled = (root + 0.12 + 0.11 / root) * distance
    if scaled < 0.2:  # the series does not converge there, and its value is 1 to ten digits
        return distance, 1.0
    series = sum((-1) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101))
    return distance, min(1.0, max(0.0, 2 * series))


def sentence(content: dict[str, Any]) -> str:
    """What has drifted, in words."""
    parts = [
        f"{name} (median {feature['before']:.3g} -> {feature['now']:.3g}, distance {feature['distance']:.2f}, "
        f"p {feature['p']:.1g})"
        for name, feature in content["features"].items()
        if feature["drifted"]
    ]
    return f"the {content['new_images']} new images are not like those of the champion: {'; '.join(parts)}"


def _emit(content: dict[str, Any], context: StageContext) -> None:
    context.metric("drift.new_images", content["new_images"])
    for name, feature in content["features"].items():
        context.metric(f"drift.{name}.distance", feature["distance"])
        context.metric(f"drift.{name}.p", feature["p"])
    if content["drifted"]:
        context.warn(f"{sentence(content)}; look at them before you trust what was made with them")
