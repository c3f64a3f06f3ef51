"""Agreement of the engines with the exported graph (`conf/agreement`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from stages.options.accuracy import NmsOptions


@dataclass
class AgreementOptions:
    """Whether every engine finds what the reference finds (stage ``agreement``); bounds beyond which it has failed.

    The reference is the exported graph, run node by node. FP32 engines are judged against the FP32 one, INT8 engines
    against the INT8 one, so that what the quantization cost is not held against a runtime.
    """

    score: float = 0.3
    """Boxes from this score on have to be found again; the partner's score may lie below by ``score_slack``."""
    score_slack: float = 0.1
    """See ``score``."""
    min_share_fp32: float = 0.98
    """Least share of the boxes of engine and reference that have a partner (same class, IoU of at least 0.5)."""
    min_share_int8: float = 0.9
    """The same for INT8."""
    min_iou_fp32: float = 0.98
    """Least mean IoU of the partners."""
    min_iou_int8: float = 0.9
    """The same for INT8."""
    max_score_fp32: float = 0.01
    """Largest mean absolute difference of the partners' scores."""
    max_score_int8: float = 0.05
    """The same for INT8."""


@dataclass
class DetectOptions:
    """Detections on a few unlabeled images (stage ``detect``)."""

    images: int = 8
    """How many images; 0: the engines are not compared."""
    nms: NmsOptions = field(default_factory=NmsOptions)


@dataclass
class AgreementSettings(AgreementOptions):
    """Agreement of the engines: the part the user sets (``conf/agreement``)."""

    images: int = 8
    """On how many of the unlabeled images; 0: the engines are not compared."""
