"""PaddleDetection's PP-YOLOE models by what their files show, to name the one that a file belongs to.

PP-YOLOE+ of a size has the layers of PP-YOLOE of that size. Its checkpoints have one parameter more in each block,
``alpha``; its exports do not: what tells those apart is how images are normalized.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of PP-YOLOE's images, of pixels from 0 to 1; PP-YOLOE+ takes these as they are."""
AS_THEY_ARE = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_OBJECTS365 = 365  # classes


@dataclass(frozen=True)
class Published:
    """One model.

    Attributes:
        stem: channels that its first convolution gives.
        blocks: number of blocks in each stage of the backbone.
        convolutions: number of convolutions' weights when the branches of each block are merged, as in an export.
        plus: it is a PP-YOLOE+.
        attended: a convolution stands behind the attention of the head.
    """

    stem: int
    blocks: tuple[int, ...]
    convolutions: int
    plus: bool
    attended: bool = True


_SMALL, _MEDIUM, _LARGE, _EXTRA = (1, 2, 2, 1), (2, 4, 4, 2), (3, 6, 6, 3), (4, 8, 8, 4)
PUBLISHED = {
    "ppyoloe_tiny": Published(8, _SMALL, 84, plus=False),  # not PaddleDetection's: the demo's
    "ppyoloe_s": Published(16, _SMALL, 84, plus=False),
    "ppyoloe_m": Published(24, _MEDIUM, 106, plus=False),
    "ppyoloe_l": Published(32, _LARGE, 128, plus=False),
    "ppyoloe_x": Published(40, _EXTRA, 150, plus=False),
    "ppyoloe_plus_t": Published(12, _SMALL, 84, plus=True),
    "ppyoloe_plus_t_320": Published(12, _SMALL, 84, plus=True),
    "ppyoloe_plus_t_relu": Published(12, _SMALL, 78, plus=True, attended=False),
    "ppyoloe_plus_t_relu_320": Published(12, _SMALL, 78, plus=True, attended=False),
    "ppyoloe_plus_s": Published(16, _SMALL, 84, plus=True),
    "ppyoloe_plus_m": Published(24, _MEDIUM, 106, plus=True),
    "ppyoloe_plus_l": Published(32, _LARGE, 128, plus=True),
    "ppyoloe_plus_x": Published(40, _EXTRA, 150, plus=True),
}
"""Name in conf/model -> the model."""


def of_checkpoint(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Names of the models that a checkpoint may be of; the size of its images is not in it.

    Args:
        shapes: parameter name -> shape.
    """
    stem = shapes.get("backbone.stem.conv1.conv.weight", (0,))[0]
    blocks: list[set[str]] = [set() for _ in range(4)]
    for name in shapes:
        parts = name.split(".")
        if parts[:2] == ["backbone", "stages"] and parts[3:4] == ["blocks"] and parts[2] in ("0", "1", "2", "3"):
            blocks[int(parts[2])].add(parts[4])
    plus = any(name.startswith("backbone.") and name.endswith(".alpha") for name in shapes)
    attended = any(name.startswith("yolo_head.stem_cls.") and ".conv." in name for name in shapes)
    found = (stem, tuple(len(names) for names in blocks), plus, attended)
    return [n for n, p in PUBLISHED.items() if (p.stem, p.blocks, p.plus, p.attended) == found]


def of_export(stem: int, convolutions: int, plus: bool) -> list[str]:
    """Names of the models that a graph may be of, those of the family ``plus`` if there are any."""
    fit = [name for name, p in PUBLISHED.items() if (p.stem, p.convolutions) == (stem, convolutions)]
    return [name for name in fit if PUBLISHED[name].plus == plus] or fit


def of_the_other_family(name: str, mean: Sequence[float], std: Sequence[float], scale: bool) -> list[str]:
    """Names of the models like ``name`` in the other family, if images are normalized as for that one."""
    own = PUBLISHED.get(name)
    if own is None or not scale:
        return []
    theirs = IMAGENET if own.plus else AS_THEY_ARE
    if not all(same(a, b) for a, b in zip((mean, std), theirs, strict=True)):
        return []
    return [
        other for other, p in PUBLISHED.items() if (p.stem, p.blocks) == (own.stem, own.blocks) and p.plus != own.plus
    ]


def remark_on_objects365(classes: int, mean: Sequence[float], std: Sequence[float]) -> str:
    """What to say of a checkpoint that fits a model without ``alpha``, if it may be a PP-YOLOE+ for all that; else "".

    Args:
        classes: how many the checkpoint knows.
        mean, std: how the chosen model normalizes images.
    """
    if classes != _OBJECTS365 or not all(same(a, b) for a, b in zip((mean, std), IMAGENET, strict=True)):
        return ""
    return (
        f"the checkpoint has {classes} classes: if it is one of PaddleDetection's for Objects365, it is a PP-YOLOE+ "
        "without alpha, whose images are only scaled to 0..1; choose that model (model=ppyoloe_plus_m ...) and "
        "model.architecture.CSPResNet.use_alpha=false"
    )


def choice(names: Iterable[str]) -> str:
    """How to choose one of the models: ``model=A or model=B``."""
    return " or ".join(f"model={name}" for name in names)


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, numbers to within what a 32-bit float holds."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return abs(one - other) <= 1e-6 * max(1.0, abs(one))
    return bool(one == other)
