"""Where the programs of this process run: on the CPU or, as one of several on a machine with GPUs, on a GPU of its own.

One process stays on the CPU. Several take a GPU each if Paddle was built for them and sees some
(``CUDA_VISIBLE_DEVICES`` says which; an empty one keeps all processes on the CPU). Every process but the first sees its
GPU alone, so that for all of them it is the first.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import paddle

from stages.errors import ConfigError

_on_gpu = False


def current_place() -> Any:
    """``paddle.CPUPlace`` or ``paddle.CUDAPlace``; the CPU until ``settle``."""
    return paddle.CUDAPlace(0) if _on_gpu else paddle.CPUPlace()


def on_gpu() -> bool:
    """Whether this process runs its programs on a GPU."""
    return _on_gpu


def use_gpu(gpu: bool) -> None:
    """Choose the place of this process, before it makes any program."""
    global _on_gpu
    _on_gpu = gpu


def gpus_for(processes: int) -> list[str]:
    """A GPU for each of several processes, as ``CUDA_VISIBLE_DEVICES`` names it; none, where they train on the CPU.

    Raises:
        ConfigError: there are GPUs, but not one for each process.
    """
    seen = paddle.device.cuda.device_count() if processes > 1 and paddle.is_compiled_with_cuda() else 0
    if not seen:
        return []
    if seen < processes:
        raise ConfigError(
            [
                f"compression.processes={processes} needs as many GPUs, and Paddle sees {seen} "
                '(CUDA_VISIBLE_DEVICES="" trains on the CPU)'
            ]
        )
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else [str(i) for i in range(seen)])[:processes]


def move_here(desc: Any, scope: Any) -> None:
    """Bring the parameters of a program from the CPU, where files are read and batch normalization is folded."""
    if not _on_gpu:
        return
    for var in desc.list_vars():
        found = scope.find_var(var.name) if var.persistable and var.name not in ("feed", "fetch") else None
        if found is not None:
            found.get_tensor().set(np.array(found.get_tensor()), current_place())
