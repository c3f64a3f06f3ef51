"""Runs inside a process that may load Paddle: steps of a training on Paddle's own convolutions and on oneDNN's.

python -m tests.stages.paddle.probe_training < {"MODEL": {"options": {...}, "cases": {"NAME": {"assigned": "geometry" |
"alignment", "boxes": N, "epoch": N}, ...}}, ...} > JSON

For each case: losses, gradients and running statistics of one batch on both roads, with the same weights. Besides, of
the first model, ``"curves"``: a few steps of a training, and ``"resumed"``: the rest of one that was put down and taken
up again by another trainer. ``"after a CPU"``: how mixed precision goes on with one that a CPU put down.
"""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from typing import Any

SIZE, CLASSES, BATCH = 96, 5, 2
STEPS, HALF = 8, 4


def batch(seed: int, boxes: int) -> Any:
    """Noise, with ``boxes`` boxes on each image; without any, one that is padded."""
    import numpy as np

    from stages.detection.loader import Batch

    rng = np.random.default_rng(seed)
    n = max(1, boxes)
    corner, extent = rng.uniform(0, SIZE * 0.6, (BATCH, n, 2)), rng.uniform(SIZE * 0.1, SIZE * 0.4, (BATCH, n, 2))
    there = np.full((BATCH, n, 1), float(boxes > 0), np.float32)
    return Batch(
        image=rng.normal(size=(BATCH, 3, SIZE, SIZE)).astype(np.float32),
        gt_class=rng.integers(0, CLASSES, (BATCH, n, 1)).astype(np.int32),
        gt_bbox=(np.concatenate([corner, corner + extent], -1) * there).astype(np.float32),
        pad_gt_mask=there,
    )


class Still:
    """An optimizer that leaves the weights as they are."""

    def step(self) -> None:
        """Nothing."""


def one_step(layer: Any, arithmetic: Any, given: Any, case: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import paddle

    from stages.paddle.models.training import LOSSES

    layer.yolo_head.static_assigner_epoch = 1000 if case["assigned"] == "geometry" else 0
    inputs = {
        "image": paddle.to_tensor(given.image),
        "gt_class": paddle.to_tensor(given.gt_class.astype(np.int64)),
        "gt_bbox": paddle.to_tensor(given.gt_bbox),
        "pad_gt_mask": paddle.to_tensor(given.pad_gt_mask),
        "epoch_id": case["epoch"],
    }
    losses = arithmetic.losses(layer, inputs)
    arithmetic.descend(losses["loss"], Still())
    parameters = dict(layer.named_parameters())
    gradients = {n: p.grad.numpy() for n, p in parameters.items() if not p.stop_gradient and p.grad is not None}
    for parameter in parameters.values():
        parameter.clear_gradient(False)
    statistics = {n: v.numpy() for n, v in layer.state_dict().items() if v.stop_gradient}
    return {"losses": {n: float(losses[n]) for n in LOSSES}, "gradients": gradients, "statistics": statistics}


def differences(found: dict[str, Any], expected: dict[str, Any]) -> dict[str, float]:
    """By name, of the largest value."""
    import numpy as np

    return {n: float(np.abs(found[n] - v).max() / max(np.abs(v).max(), 1e-6)) for n, v in expected.items()}


def compared(options: dict[str, Any], cases: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    import paddle

    from stages.paddle.models.onednn_training import OneDnnConvolutions, why_not
    from stages.paddle.models.training import FullPrecision, fresh_start

    with fresh_start(3):
        plain = layer_of(options)
    with fresh_start(3):
        other = layer_of(options)
    with fresh_start(3):
        third = layer_of(options)
    rng = np.random.default_rng(0)
    for name, parameter in plain.named_parameters():
        if ".pred_" in name and name.endswith("weight"):  # zero at first: nothing would reach the layers before
            parameter.set_value(paddle.to_tensor(rng.normal(0, 0.02, parameter.shape).astype(np.float32)))
    for layer in (other, third):
        layer.set_state_dict({n: v.clone() for n, v in plain.state_dict().items()})
    arithmetic = OneDnnConvolutions(other, (BATCH, 3, SIZE, SIZE), 2)
    result = {}
    for name, case in cases.items():
        given = batch(1, case["boxes"])
        expected = one_step(plain, FullPrecision(), given, case)
        # What the last bits of the images make of it on the same road.
        near = replace(given, image=given.image * np.float32(1 + 1e-6))
        disturbed = one_step(third, FullPrecision(), near, case)
        found = one_step(other, arithmetic, given, case)
        result[name] = {
            "why_not": why_not(other),
            "losses": [expected["losses"], found["losses"]],
            "parameters": [sorted(expected["gradients"]), sorted(found["gradients"])],
            "gradients": differences(found["gradients"], expected["gradients"]),
            "noise": differences(disturbed["gradients"], expected["gradients"]),
            "statistics": differences(found["statistics"], expected["statistics"]),
        }
    return result


def layer_of(options: dict[str, Any]) -> Any:
    from stages.options.model import ModelOptions
    from stages.paddle.models.models import build_detector

    return build_detector(ModelOptions(**options), CLASSES)


def trained(options: dict[str, Any], road: str, static: int, state: Any = None) -> tuple[list[float], Any, Any]:
    """Losses from the step of ``state`` on, the state in the middle and at the end.

    Labels are assigned by geometry for ``static`` steps, then by alignment.
    """
    from stages.options.finetune import FinetuneSettings
    from stages.paddle.models.onednn_training import OneDnnConvolutions
    from stages.paddle.models.training import FullPrecision, Trainer, fresh_start

    with fresh_start(3):
        layer = layer_of(options)
        arithmetic = FullPrecision() if road == "plain" else OneDnnConvolutions(layer, (BATCH, 3, SIZE, SIZE), 1)
        settings = FinetuneSettings(steps=STEPS, batch=BATCH, warmup_steps=2, lr=2e-4)
        trainer = Trainer(layer, settings, static, arithmetic)
        if state is not None:
            trainer.restore(state)
        losses, middle = [], None
        while trainer.step < STEPS:
            if trainer.step == HALF:
                middle = copy.deepcopy(trainer.state())
            losses.append(trainer.train(batch(trainer.step, 3))["loss"])
        return losses, middle, trainer.state()


def after_a_cpu() -> str:
    """Paddle's scaler leaves itself out on a CPU; told that it is on a GPU, it refuses a state without a scale."""
    from stages.paddle.models.training import FullPrecision, MixedPrecision

    mixed = MixedPrecision()
    mixed._scaler._enable = True
    try:
        mixed._scaler.load_state_dict(FullPrecision().state())
    except RuntimeError:
        mixed.restore(FullPrecision().state())
        return "with a scale of its own"
    return "Paddle takes it"


def main(models: dict[str, Any]) -> dict[str, Any]:
    import stages.paddle  # noqa: F401, I001  (the door comes before paddle itself)
    import numpy as np
    import paddle

    from stages.paddle.runtime.place import settle

    settle()
    found: dict[str, Any] = {}
    for model in models.values():
        found |= compared(model["options"], model["cases"])
    options = next(iter(models.values()))["options"]
    # By geometry: alignment takes the best few cells, which the last bit of a prediction may exchange for others.
    found["curves"] = {road: trained(options, road, STEPS)[0] for road in ("plain", "onednn")}
    losses, middle, end = trained(options, "onednn", 3)
    again, _, other = trained(options, "onednn", 3, middle)
    ends = (end, other)
    same = {
        part: all(np.array_equal(ends[0][part][n], ends[1][part][n]) for n in ends[0][part])
        for part in ("model", "averaged", "optimizer")
    }
    found["resumed"] = {"losses": [losses[HALF:], again], "same": same}
    found["after a CPU"] = after_a_cpu()
    found["dynamic"] = paddle.in_dynamic_mode()
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))))
