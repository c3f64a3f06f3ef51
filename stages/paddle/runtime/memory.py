"""What a GPU's memory held, and what to do when it was too small."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from stages.contract import StageContext
from stages.errors import StageError
from stages.paddle.runtime.place import gpu_index, on_gpu, peak_memory

GIB = 1 << 30
_TOO_SMALL = re.compile(r"ResourceExhaustedError|Out of memory error on GPU|CUDA error\(2\)", re.IGNORECASE)


def report_memory(context: StageContext) -> None:
    """The metric ``gpu_memory_gib``: what this process held at most. Nothing on the CPU."""
    if on_gpu():
        context.metric("gpu_memory_gib", peak_memory() / GIB)


@contextmanager
def out_of_memory_explained(key: str, batch: int) -> Iterator[None]:
    """Turn Paddle's error about the GPU's memory into one that says which batch to try.

    Args:
        key: the config key of the batch.
        batch: its value.

    Raises:
        StageError: the memory of the GPU was too small.
    """
    try:
        yield
    except (RuntimeError, MemoryError, SystemError) as error:
        if isinstance(error, StageError) or not _TOO_SMALL.search(str(error)):
            raise
        raise StageError(too_small(key, batch, peak_memory(), gpu_index())) from error


def too_small(key: str, batch: int, held: int, gpu: int) -> str:
    """What to tell whose ``batch`` did not fit.

    Activations, most of what is held, grow with the batch: half of it needs about half the memory.
    """
    had = f"; this process held {held / GIB:.1f} GiB of it" if held else ""
    if batch <= 1:
        return (
            f"the memory of GPU {gpu} is too small for a single image{had}. Free it (`nvidia-smi` lists who uses it), "
            "lower model.input_size, or compute on the CPU with run.device=cpu"
        )
    return (
        f"the memory of GPU {gpu} is too small for {key}={batch}{had}. Try {key}={batch // 2}: activations grow with "
        "the batch. `nvidia-smi` lists who else uses the memory"
    )
