"""Distillation in several processes: each takes its own images, and after every step all have the same student.

The variables that a step changes are averaged over the processes. SGD, momentum and the moving averages of ranges are
linear in gradients and in what was observed, so this is what averaging the gradients would give, without a change to
the program. (A range moves by the mean of the processes' largest values, where one process moves it by that of the
whole batch.)

Rank 0 is the stage's own process: it runs the loop, scores, writes checkpoints and decides. The others
(``stages.distillation.group_member``) follow its commands: ``{"join": ENDPOINTS}``, ``{"step", "rate"}``, and
``{"take": true}`` to take up rank 0's student.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle.base.dygraph import guard

from stages.artifacts import ExportedModel
from stages.codec import artifact_from_json, dataclass_from_json, to_json
from stages.contract import StageContext
from stages.detection.loader import prefetch
from stages.detection.unlabeled import UnlabeledImages, images_for
from stages.errors import StageError
from stages.options.compression import DistillOptions
from stages.paddle.compression import slim
from stages.paddle.compression.student import Learner, prepare_student
from stages.paddle.runtime import place
from stages.paddle.runtime.program import fresh_scope
from stages.paddle.runtime.quiet import silent_bars
from stages.processes.group import ProcessGroup

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]


class SharedVariables:
    """The student's variables in the current scope, and how they become the same in all processes."""

    def __init__(self, student: slim.Student, scope: Any) -> None:
        self._scope = scope
        ranges = {name for names in student.activations.values() for name in names}  # not in a state, if they are kept
        self._names = sorted({*student.state, *ranges})
        values = {name: slim.read(scope, name) for name in self._names}
        self._averaged = [name for name in student.state if values[name].dtype == np.float32]
        described = [(name, str(value.dtype), value.shape) for name, value in values.items()]
        self.digest = hashlib.sha256(json.dumps(described).encode()).hexdigest()
        """Of names, types and shapes: equal in processes that can train together."""

    def all_reduce_mean(self, loss: float) -> float:
        """Give every variable the mean of its values in all processes; that of ``loss`` (a float32's) is returned."""
        values = [np.array([loss], np.float32), *(slim.read(self._scope, name) for name in self._averaged)]
        flat = np.concatenate([value.reshape(-1) for value in values])
        with guard(place.current_place()):
            tensor = paddle.to_tensor(flat)
            paddle.distributed.all_reduce(tensor)
            flat = tensor.numpy() / np.float32(paddle.distributed.get_world_size())
        at = 1
        for name, old in zip(self._averaged, values[1:], strict=True):
            slim.write(self._scope, name, flat[at : at + old.size])
            at += old.size
        return float(flat[0])

    def broadcast(self) -> None:
        """Give every variable rank 0's value."""
        values = [slim.read(self._scope, name) for name in self._names]
        flat = np.frombuffer(b"".join(value.tobytes() for value in values), np.uint8)
        with guard(place.current_place()):
            tensor = paddle.to_tensor(flat)
            paddle.distributed.broadcast(tensor, src=0)
            flat = tensor.numpy()
        at = 0
        for name, old in zip(self._names, values, strict=True):
            slim.write(self._scope, name, flat[at : at + old.nbytes].view(old.dtype))
            at += old.nbytes


class DataParallelLearner:
    """What the loop trains where several processes do, with the methods of `Learner`; this one is rank 0."""

    def __init__(self, learner: Learner, shared: SharedVariables, peers: ProcessGroup) -> None:
        """Wait until the others are ready, and give them this process's student.

        Raises:
            StageError: one of them is gone, or has another student.
        """
        self._learner, self._shared, self._peers = learner, shared, peers
        for rank, said in enumerate(peers.hear(), start=1):
            if said.get("ready") != shared.digest:
                raise StageError(
                    f"process {rank} of the distillation made a student with other variables than process 0, so they "
                    "cannot train together (PaddleSlim's own passes, which other versions than the tested ones use, "
                    "draw names at random). compression.processes=1 trains without other processes."
                )
        endpoints = _free_endpoints(peers.count)
        peers.tell({"join": endpoints})
        peers.wait_for(lambda: _join(0, endpoints))
        self._share()

    def step(self, step: int, feeds: Feeds, rate: float) -> float:
        self._peers.tell({"step": step, "rate": rate})
        loss = self._learner.step(step, feeds, rate)
        return self._peers.wait_for(lambda: self._shared.all_reduce_mean(loss))

    def state(self) -> dict[str, Array]:
        return self._learner.state()

    def restore(self, state: Mapping[str, Array]) -> None:
        self._learner.restore(state)
        self._share()

    def _share(self) -> None:
        self._peers.tell({"take": True})
        self._peers.wait_for(self._shared.broadcast)


def start_group(
    model: ExportedModel,
    teacher: ExportedModel | None,
    images: UnlabeledImages,
    gpus: list[str],
    options: DistillOptions,
    context: StageContext,
) -> ProcessGroup:
    """Start the processes of rank 1, 2, ..., which make their student while this one makes its own.

    ``gpus`` are those of all processes (see ``place.gpus_for``).
    """
    threads = share_of_threads(context.threads, options.processes)
    if options.processes > context.threads:
        context.warn(f"{options.processes} processes train on {context.threads} threads: each takes a whole one")
    folder = context.work / "peers"
    request = {
        "processes": options.processes,
        "model": to_json(model),
        "teacher": None if teacher is None else to_json(teacher),
        "paths": [str(path) for path in images.paths],
        "options": to_json(options),
        "seed": context.seed,
        "threads": threads,
        "gpu": bool(gpus),
    }
    ranks = range(1, options.processes)
    return ProcessGroup(
        [{**request, "rank": rank, "folder": str(folder / str(rank))} for rank in ranks],
        [_environment(threads, gpus[rank] if gpus else None) for rank in ranks],
        folder,
    )


def _environment(threads: int, gpu: str | None) -> dict[str, str]:
    """What a process of its own has to find when it starts: later Paddle no longer looks."""
    return {"OMP_NUM_THREADS": str(threads), **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}


def share_of_threads(threads: int, processes: int) -> int:
    """CPU threads of one process."""
    return max(1, threads // processes)


def batch_number(step: int, rank: int, processes: int) -> int:
    """Which batch of the images' stream a process takes in a step: together they take what a larger batch would."""
    return step * processes + rank


def follow(request: Mapping[str, Any], commands: Iterable[Mapping[str, Any]], say: Callable[[Any], None]) -> None:
    """Be a process of the rank that ``request`` names until the commands end (``stages.distillation.group_member``)."""
    model = artifact_from_json(request["model"])
    assert isinstance(model, ExportedModel)
    teacher = None if request["teacher"] is None else artifact_from_json(request["teacher"])
    assert teacher is None or isinstance(teacher, ExportedModel)
    options: DistillOptions = dataclass_from_json(DistillOptions, request["options"])
    rank, threads = int(request["rank"]), int(request["threads"])
    paths = [Path(path) for path in request["paths"]]
    images = images_for(model, paths, batch=options.batch, seed=request["seed"])
    place.use_gpu(request["gpu"])
    paddle.seed(request["seed"])
    with fresh_scope() as scope, silent_bars():
        made = prepare_student(model, options, scope, Path(request["folder"]), threads, _said, teacher)
        learner, shared = Learner(made.student, scope, threads), SharedVariables(made.student, scope)
        say({"ready": shared.digest})

        def batch(step: int) -> Feeds:
            return made.teacher.feeds(images, images.indices(batch_number(step, rank, options.processes)))

        batches: Generator[Feeds, None, None] | None = None
        ahead = 0  # the step that the next batch is of
        for command in commands:
            if "join" in command:
                _join(rank, command["join"])
            elif "take" in command:
                shared.broadcast()
            else:
                step = int(command["step"])
                if batches is None or step != ahead:  # the loop has begun, or gone back
                    if batches is not None:
                        batches.close()
                    batches = prefetch(batch, step, options.steps)
                shared.all_reduce_mean(learner.step(step, next(batches), command["rate"]))
                ahead = step + 1


def _said(text: str) -> None:
    print(text, file=sys.stderr)


def _free_endpoints(count: int) -> list[str]:
    """Addresses of this machine that nobody listened on a moment ago; the first is where the processes meet."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    endpoints = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return endpoints


def _join(rank: int, endpoints: list[str]) -> None:
    """Meet the other processes; Paddle is told where by its environment variables."""
    os.environ.update(
        PADDLE_TRAINER_ID=str(rank),
        PADDLE_TRAINERS_NUM=str(len(endpoints)),
        PADDLE_TRAINER_ENDPOINTS=",".join(endpoints),
        PADDLE_CURRENT_ENDPOINT=endpoints[rank],
        PADDLE_DISTRI_BACKEND="nccl" if place.on_gpu() else "gloo",
        FLAGS_selected_gpus="0",
    )
    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"  # else it asks what the host's own name stands for
    with guard(place.current_place()):
        paddle.distributed.init_parallel_env()
