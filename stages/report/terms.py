"""What the words of a report mean, in a sentence each: tooltips of its tables, and the list at the end of its page."""

from __future__ import annotations

TERMS: dict[str, str] = {
    "mAP": "mean average precision over the classes and over IoU 0.50 to 0.95 (COCO's main metric), in points from 0 "
    "to 100.",
    "mAP point": "a hundredth of the scale of mAP: from 56.2 to 55.2 is one point less.",
    "mAP change": "this engine's mAP − FP32's on the same backend and images, in points; below zero it lost accuracy.",
    "mAP drop": "the same with the other sign, FP32's mAP − this one's: what was lost. Gates, limits of compression "
    "and the sensitivity of blocks are said in it.",
    "AP50": "average precision where a box counts as found from IoU 0.50 on; AP75 from 0.75 on.",
    "AR100": "average recall with at most 100 detections an image.",
    "IoU": "area that two boxes share / area that they cover together; 1 is the same box.",
    "F1": "harmonic mean of precision and recall at one score threshold; here the mean over IoU 0.50 to 0.95.",
    "Runtime": "the engine alone: from input tensors to output tensors.",
    "End2End": "from the decoded image to boxes: preprocessing, the engine, and NMS outside of it.",
    "p50, p90, p99": "the time that 50, 90 or 99 % of the runs stay under; p50 is the median.",
    "Speed-up": "median of the backend's FP32 engine / median of this one; 2.00 is twice as fast.",
    "Over best float": "the same against the fastest engine of the backend that has nothing in INT8.",
    "95 %": "an interval that holds the true value in 95 of 100 such measurements; where it holds 0 (a ratio: 1), the "
    "difference may be chance.",
    "FP32, FP16, BF16, INT8": "number formats of 32, 16, 16 and 8 bits; INT8 + FP16 computes in FP16 what is not in "
    "INT8.",
    "PM": "page-locked (pinned) host memory, from which a GPU copies faster.",
    "Q/DQ": "QuantizeLinear and DequantizeLinear: nodes of the graph that say where values are in INT8 and at which "
    "scale.",
    "INT8 share": "share of the multiply-adds that the runtime really computes in INT8.",
    "Of peak": "share of this machine's arithmetic peak that the engine's convolutions reach: 100% is as many "
    "multiply-adds a second as a small kernel does that is measured beside them.",
    "Of Runtime": "the sum of the layers, with the profiler on / the timed Runtime, without it.",
    "NMS": "non-maximum suppression: of boxes that overlap, the best one stays.",
    "Valid": "a timing is valid if other processes, throttling and drift left it alone; a star marks one that is not.",
    "Images per s": "images that all streams do in a second; in a breakdown of End2End, of a single stream.",
    "Streams": "inferences that run at the same time; each has CPU threads of its own.",
    "Gate": "a limit that the run has to keep; with one that fails, the exit code is 3.",
    "Calibration error": "mean distance between a score and the share of hits among detections of that score.",
    "GFLOPs": "thousand million floating-point operations for one image: two for each multiply-add.",
    "Dominated": "another engine is better with 95 % certainty in speed or in mAP, and in the other at least as good.",
}

_HEADERS: dict[str, str] = {
    "Drop": "mAP drop", "FP32 mAP": "mAP", "INT8 mAP": "mAP", "Max. speed-up": "Speed-up",
    "INT8 over best float": "Over best float",
    "Runtime p50, ms": "Runtime", "End2End p50, ms": "End2End", "p90": "p50, p90, p99", "p99": "p50, p90, p99",
    "Streams × threads × batch": "Streams",
    "AP": "mAP", "AP75": "AP50", "Mean IoU": "IoU", "NMS, ms": "NMS", "INT8": "INT8 share",
    "Calibration error, FP32": "Calibration error", "Runtime, ms": "Runtime", "End2End, ms": "End2End",
}  # fmt: skip
"""Header of a column -> its term, where the two are not called the same."""


def tip(header: str) -> str:
    """What the header of a column means; empty where it speaks for itself."""
    if "+ PM" in header:
        return f"PM: {TERMS['PM']}"
    return TERMS.get(_HEADERS.get(header, header), "")
