"""Which images of one labelled set are held out for validation: a share of each class, and no near duplicates apart.

Frames of one film, or an image saved twice, look alike; if one of them is trained on and another is scored on, the
mAP says nothing. So images are grouped by content first, and a group is held out as a whole.

Alike are images of the same bytes, and those whose difference hashes [64 bits] differ in at most `BITS` bits *and*
whose 16x16 grey pictures differ by at most `GREY` levels on average; the second keeps images of a plain background
apart, whose hashes are all nearly zero. Groups are ordered by a hash of the seed and their content, not shuffled, so
that an image that is added later moves few others from one side to the other.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from stages.detection.images import Image
from stages.errors import DataError

SIDE = 16
BITS = 3
GREY = 6.0
_BANDS = 4
"""Of four quarters of a hash, at least one is the same where at most three bits differ."""


@dataclass(frozen=True)
class Look:
    """What an image is compared by.

    Attributes:
        sha256: of its bytes.
        bits: difference hash, 64 bits.
        grey: uint8 [SIDE, SIDE].
    """

    sha256: str
    bits: int
    grey: npt.NDArray[np.uint8]


def look_of(image: Image, sha: str) -> Look:
    """The look of a BGR image [H, W, 3]: each bit says whether a cell of 8x9 is brighter than its left neighbour."""
    import cv2

    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    cells = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    rising = (cells[:, 1:] > cells[:, :-1]).flatten()
    bits = int.from_bytes(np.packbits(rising).tobytes(), "big")
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return Look(sha, bits, np.asarray(small, np.uint8))


def groups_of(looks: Sequence[Look | None]) -> list[int]:
    """The group of each image, named by its first member; an image that could not be read (``None``) is alone."""
    parents = list(range(len(looks)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    first: dict[str, int] = {}
    buckets: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, look in enumerate(looks):
        if look is None:
            continue
        if look.sha256 in first:
            parents[i] = root(first[look.sha256])
            continue
        first[look.sha256] = i
        for band in range(_BANDS):
            bucket = buckets[band, look.bits >> (16 * band) & 0xFFFF]
            for other in bucket:
                if root(other) != root(i) and _alike(look, looks[other]):
                    low, high = sorted((root(other), root(i)))
                    parents[high] = low
            bucket.append(i)
    return [root(i) for i in range(len(looks))]


def _alike(one: Look, other: Look | None) -> bool:
    if other is None or (one.bits ^ other.bits).bit_count() > BITS:
        return False
    return float(np.abs(one.grey.astype(np.int16) - other.grey).mean()) <= GREY


def held_out(
    names: Sequence[str], looks: Sequence[Look | None], classes: Sequence[Sequence[int]], fraction: float, seed: int
) -> tuple[set[int], list[int]]:
    """The indices of the images to hold out, and the group of each image.

    Each group counts for the rarest class in it; of each class's groups, the share ``fraction`` is held out, beginning
    with the rarest class.

    Args:
        names: stands for the content of an image that could not be read.
        classes: the classes of each image's boxes.

    Raises:
        DataError: all images are alike, so that nothing can be held out.
    """
    groups = groups_of(looks)
    members: dict[int, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        members[group].append(i)
    if len(members) < 2:
        raise DataError(f"the {len(names)} images cannot be divided: they look alike, or there is only one; give a "
                        "validation set of its own instead of data.val_fraction")  # fmt: skip
    frequency = Counter(c for group in members.values() for c in {c for i in group for c in classes[i]})
    strata: dict[tuple[int, int], list[int]] = defaultdict(list)
    for group, images in members.items():
        present = {c for i in images for c in classes[i]}
        rarest = min(((frequency[c], c) for c in present), default=(len(members) + 1, -1))
        strata[rarest].append(group)

    def order(group: int) -> str:
        content = min(look.sha256 if (look := looks[i]) else names[i] for i in members[group])
        return sha256(f"{seed}:{content}".encode()).hexdigest()

    chosen: set[int] = set()
    owed = 0.0  # what rounding kept back from the classes so far
    for key in sorted(strata):
        ordered = sorted(strata[key], key=order)
        owed += fraction * sum(len(members[group]) for group in ordered)
        for group in ordered:
            size = len(members[group])
            if owed >= size / 2 and len(chosen) < len(members) - 1:
                chosen.add(group)
                owed -= size
    if not chosen:
        chosen.add(min(members, key=order))
    return {i for group in chosen for i in members[group]}, groups
