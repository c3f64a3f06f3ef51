"""The ``retrain`` config group as dataclasses. Light: the config can be read without MLflow."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.rules import POSITIVE, SHARE, above, one_of, option, part


@dataclass
class WatchOptions:
    """What counts as a change. A changed config always does."""

    images: bool = option(True, doc="images that were added or removed, or whose bytes changed")
    labels: bool = option(True, doc="the label files of the training and validation images")
    checkpoint: bool = option(True, doc="the weights or the exported model that the config names")
    packages: bool = option(True, doc="versions of the packages that the stages and backends use")
    driver: bool = option(True, doc="the NVIDIA driver and the processor")
    max_age_days: float | None = option(
        None, above(0), "days after which the champion is challenged although nothing else changed; null: never"
    )


@dataclass
class RetrainOptions:
    """When `detpress retrain` works, what it starts from and what it does with the result."""

    watch: WatchOptions = part(WatchOptions)
    min_images: int = option(1, POSITIVE, "fewer changed images than this do not count as a change")
    finetune: bool = option(
        False,
        doc="train on the labelled images first, from the champion's FP32 checkpoint; without one from `model.weights`",
    )
    promote: bool = option(
        True, doc="let the challenger take the champion's place if every gate holds; false: only register it"
    )
    check_drop: bool = option(
        True,
        doc="compare images and labels with the last accepted ones before anything is trained, and refuse what looks "
        "broken",
    )
    min_share: float = option(
        0.5, SHARE, "smallest accepted size of a set, as a share of its size when it was last accepted"
    )
    drift: str = option(
        "warn",
        one_of("off", "warn", "refuse"),
        "what to do when the images are no longer like those the champion was made with",
    )
    drift_images: int = option(200, POSITIVE, "how many images the drift is measured on")
