"""Quantization-aware distillation: the loop around PaddleSlim's programs."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.contract import ExportedModel, StageContext
from stages.detection.loader import prefetch
from stages.detection.unlabeled import UnlabeledImages
from stages.errors import StageError
from stages.options import DistillOptions
from stages.paddle import anatomy, slim
from stages.paddle.calibrate import find_ranges
from stages.paddle.graph_patches import fast_graph_passes
from stages.paddle.infer import Predictor
from stages.paddle.losses import TEACHER, distilled_nodes
from stages.paddle.program import fresh_scope, load_program
from stages.paddle.ptq import calibration
from stages.paddle.quiet import silent_bars
from stages.stopping import stop_requests

Array = npt.NDArray[Any]
Feeds = dict[str, Array]

CHECKPOINT = "checkpoint.npz"
TEACHER_CACHE_BYTES = 1 << 29  # of teacher outputs kept in memory: later passes over a small set need no teacher
_META = "__meta__"


@dataclass
class Curve:
    """Points of the training curve, and the losses since the last one."""

    points: list[dict[str, float]] = field(default_factory=list)
    recent: list[float] = field(default_factory=list)


def distill(
    model: ExportedModel, images: UnlabeledImages, options: DistillOptions, context: StageContext
) -> list[dict[str, float]]:
    """Train the INT8 student of ``model`` and write it to ``context.out``/model.pd*; returns the curve.

    Raises:
        StageError: the loss is not a finite number, or nothing can be quantized.
    """
    paddle.seed(context.seed)
    with fresh_scope() as scope, silent_bars():
        started = time.perf_counter()
        loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
        program = anatomy.fold_batch_norm(loaded, scope)
        program.set_shapes(anatomy.open_batch(model))
        nodes = distilled_nodes(program, options.loss)
        context.info(f"distilled nodes: {', '.join(nodes)}")
        teacher = _Teacher(program, nodes, images, model, context)
        with fast_graph_passes(context.warn):
            student = slim.build_student(program, nodes, options, scope)
        context.metric("prepare_s", time.perf_counter() - started)

        def batches() -> Iterator[Feeds]:
            return calibration(images, options.calibration_images, model)

        algorithm = "avg" if options.activation_ranges == "moving_average" else options.activation_ranges
        _initial_ranges(student, find_ranges(program, sorted(student.activations), batches, algorithm), scope)
        loop = _Loop(student, teacher, options, context, scope)
        loop.run()
        started = time.perf_counter()
        # ``program`` is the student without quantizers: it has the trained weights, which are in the scope.
        outputs = anatomy.observed_outputs(program, options.quantize_op_types)
        ranges = find_ranges(program, outputs, batches, algorithm)
        with fast_graph_passes(context.warn):
            slim.finish(student.inference, ranges, options, scope, context.out)
        context.metric("finish_s", time.perf_counter() - started)
        return loop.curve.points


def _initial_ranges(student: slim.Student, ranges: dict[str, float], scope: Any) -> None:
    """Start the ranges of activations at what the FP32 model shows; moving averages would start at 1.

    PACT's thresholds start at 20, which would cut off what reaches higher: they start no lower than the range.
    """
    for name, (scale, accumulator, state) in student.activations.items():
        value = max(ranges[name], slim.SMALLEST_RANGE)
        slim.write(scope, scale, value)
        slim.write(scope, accumulator, value)
        slim.write(scope, state, 1.0)
        if scope.find_var(name + slim.PACT) is not None and value > float(slim.read(scope, name + slim.PACT)[0]):
            slim.write(scope, name + slim.PACT, value)


class _Teacher:
    """Batches with the FP32 model's outputs at the distilled nodes."""

    def __init__(
        self, program: Any, nodes: list[str], images: UnlabeledImages, model: ExportedModel, context: StageContext
    ) -> None:
        folder = context.work / "teacher"
        folder.mkdir(parents=True, exist_ok=True)
        program.prune(nodes).save(folder / "model")
        self._predictor = Predictor(
            folder / "model.pdmodel", folder / "model.pdiparams", threads=context.threads, onednn=True
        )
        self._nodes = nodes
        self._images = images
        self._model = model
        self._kept: dict[int, list[Array]] = {}
        self._room = TEACHER_CACHE_BYTES

    def batch(self, step: int) -> Feeds:
        """What the training program is fed with in step ``step``."""
        indices = self._images.indices(step)
        image, _ = self._images.load(indices)
        missing = [k for k, i in enumerate(indices) if i not in self._kept]
        rows: dict[int, list[Array]] = {i: self._kept[i] for i in indices if i in self._kept}
        if missing:
            outputs = self._predictor.run({self._model.image_input: image[missing]})
            for place, k in enumerate(missing):
                row = [output[place] for output in outputs]
                rows[indices[k]] = row
                size = sum(part.nbytes for part in row)
                if size <= self._room and indices[k] not in self._kept:
                    self._kept[indices[k]] = [part.copy() for part in row]
                    self._room -= size
        feeds: Feeds = {self._model.image_input: image}
        for j, node in enumerate(self._nodes):
            feeds[TEACHER + node] = np.stack([rows[i][j] for i in indices])
        return feeds


class _Loop:
    """Steps, checkpoints, reports."""

    def __init__(
        self, student: slim.Student, teacher: _Teacher, options: DistillOptions, context: StageContext, scope: Any
    ) -> None:
        self.student = student
        self.teacher = teacher
        self.options = options
        self.context = context
        self.scope = scope
        self.step = 0
        self.curve = Curve()

    def rate(self, step: int) -> float:
        """Learning rate of step ``step`` (from 0): linear warm-up, then half a cosine to 0."""
        o = self.options
        if step < o.warmup_steps:
            return o.lr * (step + 1) / o.warmup_steps
        return o.lr * (1 + math.cos(math.pi * (step - o.warmup_steps) / max(1, o.steps - o.warmup_steps))) / 2

    def run(self) -> None:
        """All steps, from the last checkpoint if there is one."""
        o = self.options
        self._restore()
        executor = paddle.static.Executor(paddle.CPUPlace())
        program = _compiled(self.student.train)
        started, images = time.perf_counter(), 0
        with stop_requests() as stop, closing(prefetch(self.teacher.batch, self.step, o.steps)) as batches:
            for feeds in batches:
                rate = self.rate(self.step)
                slim.write(self.scope, self.student.learning_rate, rate)
                (loss,) = executor.run(program, feed=feeds, fetch_list=[self.student.loss])
                self.step += 1
                value = float(np.asarray(loss).reshape(-1)[0])
                if not math.isfinite(value):
                    raise StageError(
                        f"the distillation loss became {value} at step {self.step} of {o.steps} (learning rate "
                        f"{rate:.2e}). Lower compression.lr, or check the images and the FP32 model."
                    )
                self.curve.recent.append(value)
                images += o.batch
                if self.step % o.log_every == 0 or self.step == o.steps:
                    now = time.perf_counter()
                    self._report(rate, images / (now - started))
                    started, images = now, 0
                if stop:
                    self._save()
                    self.context.info(f"stopped at step {self.step} of {o.steps}; the same command goes on from there")
                    raise SystemExit(128 + stop[0])
                if self.step % o.checkpoint_every == 0 and self.step < o.steps:
                    self._save()

    def _report(self, rate: float, speed: float) -> None:
        loss = sum(self.curve.recent) / len(self.curve.recent)
        self.curve.recent.clear()
        self.curve.points.append({"step": self.step, "loss": loss, "lr": rate})
        self.context.metric("loss", loss, self.step)
        self.context.metric("lr", rate, self.step)
        self.context.metric("images_per_s", speed, self.step)
        self.context.progress(self.step, self.options.steps, loss=loss, lr=rate, images_per_s=speed)

    def _save(self) -> None:
        """Write the checkpoint beside the old one, then put it in its place."""
        meta = {"step": self.step, "points": self.curve.points, "recent": self.curve.recent}
        arrays = {name: slim.read(self.scope, name) for name in self.student.state}
        temporary = self.context.work / f"{CHECKPOINT}.tmp"
        with temporary.open("wb") as stream:
            np.savez(stream, **{_META: np.array(json.dumps(meta))}, **arrays)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(self.context.work / CHECKPOINT)

    def _restore(self) -> None:
        path: Path = self.context.work / CHECKPOINT
        if not path.is_file():
            return
        try:
            with np.load(path, allow_pickle=False) as content:
                meta = json.loads(str(content[_META]))
                arrays = {name: content[name] for name in self.student.state}
        except (OSError, ValueError, KeyError, EOFError) as error:
            self.context.warn(
                f"the checkpoint of the interrupted compression cannot be used ({error}); from step 0 again"
            )
            return
        for name, value in arrays.items():
            slim.write(self.scope, name, value)
        self.step = int(meta["step"])
        self.curve = Curve(points=meta["points"], recent=meta["recent"])
        self.context.info(f"going on from step {self.step} of an interrupted compression")


def _compiled(program: Any) -> Any:
    strategy = paddle.static.BuildStrategy()
    strategy.memory_optimize = False
    strategy.enable_inplace = False  # quantizers read what an in-place operator would overwrite
    return paddle.static.CompiledProgram(program, build_strategy=strategy)
