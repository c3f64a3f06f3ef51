"""Where the programs of this process run: on a GPU if there is one and the run did not ask for the CPU.

`stages.processes.device` holds what the run asked for; the first program that is made settles it. Several processes
that train together take a GPU each (``CUDA_VISIBLE_DEVICES`` says which; an empty one keeps all of them on the CPU),
and every process but the first sees its GPU alone, so that for all of them it is the first.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from stages.errors import ConfigError
from stages.processes.device import AUTO, CPU, Requested, requested

PLUMBING = ("feed", "fetch")
"""Operators and variables that only bring inputs in and outputs out."""

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

_ONEDNN = threading.RLock()
_gpu: int | None = None
_settled = False


def current_place() -> Any:
    """``paddle.CPUPlace`` or ``paddle.CUDAPlace``.

    Raises:
        ConfigError: the run asked for a GPU that is not there.
    """
    settle()
    return paddle.CPUPlace() if _gpu is None else paddle.CUDAPlace(_gpu)


def on_gpu() -> bool:
    """Whether this process runs its programs on a GPU."""
    settle()
    return _gpu is not None


def gpu_index() -> int:
    """The number of the GPU among those that this process sees."""
    settle()
    return _gpu or 0


def settle() -> None:
    """Choose the place of this process; only the first call does anything.

    Raises:
        ConfigError: the run asked for a GPU that is not there.
    """
    if not _settled:
        _take(_choose(requested()))


def use_gpu(gpu: bool) -> None:
    """Be one of several processes, with a GPU of its own or none; before any program is made."""
    _take(0 if gpu else None)


def _take(index: int | None) -> None:
    global _gpu, _settled
    # A build for GPUs makes its layers on the first one unless it is told otherwise.
    paddle.set_device("cpu" if index is None else f"gpu:{index}")
    _gpu, _settled = index, True


def _choose(asked: Requested) -> int | None:
    """The GPU to use, or the CPU; what the user may not expect is said.

    Raises:
        ConfigError: a GPU is asked for that is not there.
    """
    if asked.device == CPU:
        return None
    seen = _seen()
    if asked.index < seen:
        asked.info(f"computes on GPU {asked.index}: {paddle.device.cuda.get_device_name(asked.index)}")
        return asked.index
    reason = _why_not(seen)
    if asked.device != AUTO:
        raise ConfigError([f"run.device={asked.device}: {reason}"])
    if not paddle.is_compiled_with_cuda() and NVIDIA_DRIVER.is_file():
        asked.warn(f"computes on the CPU although this machine has an NVIDIA GPU: {reason}")
    elif paddle.is_compiled_with_cuda():
        asked.info(f"computes on the CPU: {reason}")
    return None


def _why_not(seen: int) -> str:
    if not paddle.is_compiled_with_cuda():
        return (
            "the installed paddlepaddle is a build for the CPU. `detpress doctor` shows the lines that install one for "
            "this GPU; run.device=cpu stays here"
        )
    if seen:
        return f"Paddle sees {seen} GPU{'s' if seen > 1 else ''}, numbered from 0"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "Paddle is a build for GPUs and sees none" + (
        f" (CUDA_VISIBLE_DEVICES={hidden!r})" if hidden is not None else "; `nvidia-smi` shows whether the driver does"
    )


def _seen() -> int:
    return int(paddle.device.cuda.device_count()) if paddle.is_compiled_with_cuda() else 0


def gpus_for(processes: int) -> list[str]:
    """A GPU for each of several processes, as ``CUDA_VISIBLE_DEVICES`` names it; none, where they train on the CPU.

    Raises:
        ConfigError: there are GPUs, but not one for each process, or the run named a single one.
    """
    asked = requested()
    seen = _seen() if processes > 1 and asked.device != CPU else 0
    if processes > 1 and ":" in asked.device:
        raise ConfigError(
            [
                f"compression.processes={processes} with run.device={asked.device}: several processes take a GPU each; "
                "leave the number out (CUDA_VISIBLE_DEVICES chooses among them) or train in one process"
            ]
        )
    if not seen:
        if processes > 1 and asked.device not in (AUTO, CPU):
            raise ConfigError([f"run.device={asked.device}: {_why_not(seen)}"])
        return []
    if seen < processes:
        raise ConfigError(
            [
                f"compression.processes={processes} needs as many GPUs, and Paddle sees {seen} "
                "(run.device=cpu trains on the CPU)"
            ]
        )
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(i) for i in range(seen)])[:processes]


def alone_in_onednn() -> AbstractContextManager[object]:
    """Held while a program fills, or Paddle Inference looks through, what oneDNN keeps for the whole process.

    A teacher (Paddle Inference, which looks through it after each batch: ``MkldnnPostReset``) beside the first steps of
    a student crashed there once in some hundred trainings. Held in every step, it would make training slower by half
    (10.2 images/s became 6.5 for the demo's model).
    """
    return nullcontext() if on_gpu() else _ONEDNN


def stored(desc: Any) -> Iterator[Any]:
    """The variables of a program that its file of parameters holds."""
    return (var for var in desc.list_vars() if var.persistable and var.name not in PLUMBING)


def move_here(desc: Any, scope: Any) -> None:
    """Bring the parameters of a program from the CPU, where files are read and batch normalization is folded."""
    if not on_gpu():
        return
    for var in stored(desc):
        found = scope.find_var(var.name)
        if found is not None:
            found.get_tensor().set(np.array(found.get_tensor()), current_place())


def place_of(desc: Any, scope: Any) -> Any:
    """Where the parameters of a program are: what only edits and saves it needs no other place."""
    for var in stored(desc):
        found = scope.find_var(var.name)
        if found is not None and found.get_tensor()._is_initialized():
            return current_place() if found.get_tensor()._place().is_gpu_place() else paddle.CPUPlace()
    return paddle.CPUPlace()


def peak_memory() -> int:
    """Bytes of the GPU's memory that this process held at most; 0 on the CPU."""
    return int(paddle.device.cuda.max_memory_allocated(gpu_index())) if on_gpu() else 0
