"""Runs inside a process that may load Paddle: what Paddle's own operator leaves of boxes and scores.

python -m tests.stages.paddle.probe_nms IN.npz OUT.npz: ``boxesN``, ``scoresN`` and ``optionsN`` (score threshold, IoU
threshold, how many before and how many after) become ``outN``.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(given: Path, found: Path) -> None:
    import stages.paddle  # isort: skip  # noqa: F401  (the door comes before paddle itself)
    import numpy as np
    import paddle
    from ppdet.modeling import ops

    data, out = np.load(given), {}
    for number in [name.removeprefix("boxes") for name in data.files if name.startswith("boxes")]:
        threshold, iou, before, after = data[f"options{number}"]
        boxes, scores = (paddle.to_tensor(data[f"{kind}{number}"][None]) for kind in ("boxes", "scores"))
        left, _, _ = ops.multiclass_nms(
            boxes, scores, score_threshold=float(threshold), nms_threshold=float(iou), nms_top_k=int(before),
            keep_top_k=int(after), background_label=-1, normalized=True,
        )  # fmt: skip
        out[f"out{number}"] = left.numpy()
    np.savez(found, **out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
