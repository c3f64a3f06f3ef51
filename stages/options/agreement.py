"""Agreement of the engines with the exported graph (`conf/agreement`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.accuracy import NmsOptions
from stages.options.rules import COUNT, SHARE, like, option, part


@dataclass
class AgreementOptions:
    """Whether every engine finds what the reference finds (stage ``agreement``); bounds beyond which it has failed.

    The reference is the exported graph, run node by node. Float engines are judged against the FP32 one, INT8 engines
    (whatever their float parts are) against the INT8 one, so that what the quantization cost is not held against a
    runtime.
    """

    score: float = option(0.3, SHARE, "boxes with at least this score have to be found by the other side too")
    score_slack: float = option(0.1, SHARE, "by how much the score of the other side's box may lie below `score`")
    min_share_fp32: float = option(
        0.98,
        SHARE,
        "smallest share of the boxes of engine and reference that have a partner (same class, IoU of at least 0.5)",
    )
    min_share_int8: float = option(
        0.9, SHARE, "the same for INT8 engines, which are compared with the INT8 graph, not with FP32"
    )
    min_share_fp16: float = option(0.98, SHARE, "the same for FP16 engines, which are compared with the FP32 graph")
    min_share_bf16: float = option(
        0.95, SHARE, "the same for BF16 engines, which keep 8 of FP32's 24 bits and are compared with the FP32 graph"
    )
    min_iou_fp32: float = option(0.98, SHARE, "smallest mean IoU of the partners")
    min_iou_int8: float = option(0.9, SHARE, "the same for INT8 engines")
    min_iou_fp16: float = option(0.98, SHARE, "the same for FP16 engines")
    min_iou_bf16: float = option(0.95, SHARE, "the same for BF16 engines")
    max_score_fp32: float = option(0.01, SHARE, "largest mean absolute difference of the partners' scores")
    max_score_int8: float = option(0.05, SHARE, "the same for INT8 engines")
    max_score_fp16: float = option(0.01, SHARE, "the same for FP16 engines")
    max_score_bf16: float = option(0.02, SHARE, "the same for BF16 engines")


@dataclass
class DetectOptions:
    """Detections on a few unlabeled images (stage ``detect``)."""

    images: int = option(8, COUNT, "how many unlabeled images; 0: the engines are not compared with the graph")
    nms: NmsOptions = part(NmsOptions, "accuracy.nms")


@dataclass
class AgreementSettings(AgreementOptions):
    """Whether every engine finds what the exported graph finds, on unlabeled images; if one does not, the run fails."""

    images: int = like(DetectOptions, "images")
