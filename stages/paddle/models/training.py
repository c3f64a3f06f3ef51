"""Training of a PP-YOLOE layer: AdamW, warm-up and cosine, averaged weights, a state to put down and take up again.

All of the state is in one dictionary of arrays and numbers. The batches and the learning rate follow from the step
alone, and the model draws nothing at random while training, so there is no random state to keep.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import paddle

from stages.detection.loader import Batch
from stages.errors import StageError
from stages.options.finetune import PADDLE, FinetuneSettings
from stages.paddle.runtime.place import settle

Arrays = dict[str, npt.NDArray[Any]]

MAX_GRADIENT_NORM = 35.0  # only meant for the first steps of a fresh head; later norms are far below
FINAL_LR = 0.02  # share of the learning rate that the cosine ends at
# PaddleDetection lets the auxiliary neck's gradients into the backbone for the first 5 of 300 epochs.
AUX_SHARE = 5 / 300
LOSSES = ("loss", "loss_cls", "loss_iou", "loss_dfl")


@contextmanager
def fresh_start(seed: int) -> Iterator[None]:
    """Parameter names and random numbers as in a fresh process.

    Optimizer states are named after parameters, and those are numbered per process.
    """
    settle()
    with paddle.utils.unique_name.guard():
        paddle.seed(seed)
        yield


@dataclass(frozen=True)
class Schedule:
    """Learning rate by step: linear warm-up, then half a cosine down to ``FINAL_LR`` of the peak."""

    peak: float
    steps: int
    warmup: int

    def at(self, step: int) -> float:
        """The rate of step ``step`` (from 0)."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak * (FINAL_LR + (1 - FINAL_LR) * (1 + math.cos(math.pi * done)) / 2)


class Arithmetic(Protocol):
    """How a step is computed."""

    kernels: str
    """Whose convolutions: `ONEDNN` or `PADDLE`."""

    def losses(self, layer: Any, inputs: dict[str, Any]) -> Any:
        """The losses of a batch by name, scalars that can be differentiated."""

    def descend(self, loss: Any, optimizer: Any) -> None:
        """Gradients of ``loss``, one of the last `losses`, and one step of the optimizer."""

    def state(self) -> dict[str, Any]:
        """What it has to remember, arrays by name."""

    def restore(self, state: dict[str, Any]) -> None: ...


class MixedPrecision:
    """FP16 where Paddle's lists call it safe, FP32 elsewhere, with a loss scale against gradients that become zero.

    P. Micikevicius et al., "Mixed precision training", ICLR 2018; lists and growth of the scale are Paddle's level O1.
    """

    kernels = PADDLE

    def __init__(self) -> None:
        self._scaler = paddle.amp.GradScaler(init_loss_scaling=1024)

    def losses(self, layer: Any, inputs: dict[str, Any]) -> Any:
        with paddle.amp.auto_cast(level="O1"):
            return layer(inputs)

    def descend(self, loss: Any, optimizer: Any) -> None:
        """Gradients of ``loss`` and one step; it is left out, and the scale halved, where gradients overflow."""
        self._scaler.scale(loss).backward()
        self._scaler.step(optimizer)
        self._scaler.update()

    def state(self) -> dict[str, Any]:
        return {name: np.asarray(value) for name, value in self._scaler.state_dict().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a scale; a training that was begun on a CPU has none, and this one begins with its own."""
        if state:
            self._scaler.load_state_dict({name: value if value.ndim else value.item() for name, value in state.items()})


class FullPrecision:
    """FP32 throughout, in Paddle's own kernels."""

    kernels = PADDLE

    def losses(self, layer: Any, inputs: dict[str, Any]) -> Any:
        return layer(inputs)

    def descend(self, loss: Any, optimizer: Any) -> None:
        loss.backward()
        optimizer.step()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None: ...


class Trainer:
    """One layer being trained.

    Args:
        layer: a detector from ``build_detector``; it is put in training mode.
        options: steps, rates and decays.
        static_steps: for so many steps labels are assigned by geometry (ATSS), afterwards by how well the predictions
            align with them (TAL); a head that knows nothing yet aligns with nothing. ATSS: S. Zhang et al., "Bridging
            the gap between anchor-based and anchor-free detection via adaptive training sample selection", CVPR 2020.
            TAL: C. Feng et al., "TOOD: Task-aligned one-stage object detection", ICCV 2021.
    """

    def __init__(
        self,
        layer: Any,
        options: FinetuneSettings,
        static_steps: int,
        arithmetic: Arithmetic | None = None,
    ) -> None:
        self.layer = layer
        self.step = 0
        self._schedule = Schedule(options.lr, options.steps, min(options.warmup_steps, options.steps))
        self._ema_decay = options.ema_decay
        self._arithmetic: Arithmetic = arithmetic or FullPrecision()
        layer.train()
        layer.yolo_head.static_assigner_epoch = static_steps
        if hasattr(layer, "detach_epoch"):
            layer.detach_epoch = math.ceil(AUX_SHARE * options.steps)
        trained = [p for p in layer.parameters() if not p.stop_gradient]
        # One-dimensional parameters are biases and the scales of normalizations: decay would only shrink the signal.
        undecayed = {p.name for p in trained if len(p.shape) <= 1}
        self._optimizer = paddle.optimizer.AdamW(
            learning_rate=options.lr,
            parameters=trained,
            weight_decay=options.weight_decay,
            apply_decay_param_fun=lambda name: name not in undecayed,
            grad_clip=paddle.nn.ClipGradByGlobalNorm(MAX_GRADIENT_NORM),
        )
        self._averaged = {name: value.clone().detach() for name, value in layer.state_dict().items()}

    @property
    def kernels(self) -> str:
        """Whose convolutions: `ONEDNN` or `PADDLE`."""
        return self._arithmetic.kernels

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._schedule.at(self.step)

    def train(self, batch: Batch) -> dict[str, float]:
        """One step; returns the losses before it.

        Raises:
            StageError: the loss is no finite number any more.
        """
        rate = self.lr
        self._optimizer.set_lr(rate)
        inputs = {
            "image": paddle.to_tensor(batch.image),
            # PaddleDetection adds indices of this type to int64 ones, which Paddle 3 refuses to mix with int32.
            "gt_class": paddle.to_tensor(batch.gt_class.astype(np.int64)),
            "gt_bbox": paddle.to_tensor(batch.gt_bbox),
            "pad_gt_mask": paddle.to_tensor(batch.pad_gt_mask),
            # ppdet switches by epoch; steps are fine enough for short trainings, and it only compares the two numbers.
            "epoch_id": self.step,
        }
        try:
            outputs = self._arithmetic.losses(self.layer, inputs)
        except ValueError as error:
            # The loss refuses predictions that are no numbers before it could become one itself.
            if all(bool(paddle.isfinite(p).all()) for p in self.layer.parameters()):
                raise
            raise self._diverged(rate) from error
        losses = {name: float(outputs[name]) for name in LOSSES}
        if not math.isfinite(losses["loss"]):
            raise self._diverged(rate)
        self._arithmetic.descend(outputs["loss"], self._optimizer)
        self._optimizer.clear_grad()
        self.step += 1
        self._average()
        return losses

    def _diverged(self, rate: float) -> StageError:
        return StageError(
            f"the training diverged at step {self.step + 1} with a learning rate of {rate:.2g}: the loss is no number "
            "any more. Lower finetune.lr (a half is a good first try), or look for absurd boxes in the labels."
        )

    def _average(self) -> None:
        """Exponential moving average of the weights; it forgets faster at first, when they still move a lot."""
        decay = min(self._ema_decay, (1 + self.step) / (10 + self.step))
        with paddle.no_grad():
            for name, value in self.layer.state_dict().items():
                average = self._averaged[name]
                average.scale_(decay)
                average.add_(value * (1 - decay))

    def averaged(self) -> Arrays:
        """The averaged weights: what the training is for."""
        return {name: value.numpy() for name, value in self._averaged.items()}

    def state(self) -> dict[str, Any]:
        """Everything needed to continue from here."""
        return {
            "step": self.step,
            "model": {name: value.numpy() for name, value in self.layer.state_dict().items()},
            "averaged": self.averaged(),
            "optimizer": {
                name: value.numpy() for name, value in self._optimizer.state_dict().items() if hasattr(value, "numpy")
            },
            "arithmetic": self._arithmetic.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a ``state()`` of a trainer of the same options.

        Raises:
            KeyError, ValueError: the state is of another model.
        """
        own = self.layer.state_dict()
        for part in ("model", "averaged"):  # all is checked before anything is changed
            for name, value in own.items():
                if tuple(value.shape) != np.shape(state[part][name]):
                    raise ValueError(f"{name} has another shape")
        self.layer.set_state_dict({name: paddle.to_tensor(state["model"][name]) for name in own})
        self._averaged = {name: paddle.to_tensor(state["averaged"][name]) for name in own}
        self._optimizer.set_state_dict({name: paddle.to_tensor(v) for name, v in state["optimizer"].items()})
        self._arithmetic.restore(state.get("arithmetic", {}))
        self.step = int(state["step"])
