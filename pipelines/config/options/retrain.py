"""The ``retrain`` and ``registry`` config groups as dataclasses. Light: the config can be read without MLflow."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class WatchOptions:
    """What counts as a change (``retrain.watch``). A changed config always does."""

    images: bool = True
    """Images that came, went or have other bytes."""
    labels: bool = True
    """The label files of the training and validation images."""
    checkpoint: bool = True
    """The weights or the exported model that the config names."""
    packages: bool = True
    """Versions of the packages that the stages and backends use."""
    driver: bool = True
    """The NVIDIA driver and the processor."""
    max_age_days: float | None = None
    """Days after which the champion is challenged although nothing else changed; ``None``: never."""


@dataclass
class RetrainOptions:
    """When ``detpress retrain`` works, with what it begins and what it does with the result (``conf/retrain``)."""

    watch: WatchOptions = field(default_factory=WatchOptions)
    min_images: int = 1
    """Fewer changed images than this are no change."""
    finetune: bool = False
    """Train on the labelled images first, from the champion's FP32 checkpoint (``model.weights`` if there is none)."""
    promote: bool = True
    """Let the challenger take the champion's place if every gate holds; ``false``: register it only."""
    check_drop: bool = True
    """Refuse images and labels that look broken beside the last accepted ones, before anything is trained."""
    min_share: float = 0.5
    """Smallest size of a set that is accepted, as a share of its size when it was last accepted."""
    drift: str = "warn"
    """What to do when the images are no longer like those the champion was made with: ``off``, ``warn``, ``refuse``."""
    drift_images: int = 200
    """How many images are looked at for that."""
