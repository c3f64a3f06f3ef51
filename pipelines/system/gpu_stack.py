"""Which CUDA each installed part wants, whether they fit together and to the driver, and what to install for a GPU.

Nothing is imported: a broken package must not crash whoever asks why it is broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from stages.backends.base import version_of
from stages.processes.device import AUTO, CPU

OLDEST_DRIVER = {11: 450, 12: 525, 13: 580}
"""CUDA's major version -> the oldest driver branch that runs it (NVIDIA, "CUDA Compatibility")."""
SAME_MODULE = (("onnxruntime", "onnxruntime-gpu"), ("paddlepaddle", "paddlepaddle-gpu"))
"""Distributions that write the same Python package: what was installed last is a mixture of both."""

Version = Callable[[str], "str | None"]


@dataclass(frozen=True)
class Part:
    """An installed distribution that needs CUDA, and the major version of it."""

    distribution: str
    version: str
    cuda: int


@dataclass(frozen=True)
class Stack:
    """What one major version of CUDA needs on a machine, installed together."""

    cuda: int
    gpus: str
    lines: tuple[str, ...]


STACKS = (
    Stack(
        13,
        "Turing to Blackwell (compute capability 7.5 and newer)",
        (
            "paddlepaddle-gpu 3.x for CUDA 13, from Paddle's own index (PyPI ends at 2.6.2)",
            'pip install "onnxruntime-gpu>=1.28"',
            "pip install tensorrt-rtx-cu13 (GeForce and RTX; not Hopper)",
        ),
    ),
    Stack(
        12,
        "Maxwell to Hopper (compute capability 5.0 to 9.0)",
        (
            "paddlepaddle-gpu 3.x for CUDA 12, from Paddle's own index (PyPI ends at 2.6.2)",
            'pip install "onnxruntime-gpu>=1.19,<1.28"',
            "pip install tensorrt-rtx-cu12 (GeForce and RTX from Turing on; not Hopper)",
        ),
    ),
    Stack(
        11,
        "Kepler to Ampere (compute capability 3.5 to 8.6)",
        ("pip install paddlepaddle-gpu==2.6.2", 'pip install "onnxruntime-gpu<1.19"'),
    ),
)


def driver_branch(version: str | None) -> int | None:
    """The branch in what ``/proc/driver/nvidia/version`` says; 580 for ``... Kernel Module  580.95.05 ...``."""
    found = re.search(r"\s(\d{3,})\.\d+", version or "")
    return int(found.group(1)) if found else None


def _first_below(table: Sequence[tuple[tuple[int, int], int]], version: str, newest: int) -> int:
    """The CUDA of the first row whose version is above ``version``."""
    parts = [*re.findall(r"\d+", version), "0", "0"][:2]
    here = (int(parts[0]), int(parts[1]))
    return next((cuda for bound, cuda in table if here < bound), newest)


def paddle_cuda() -> int | None:
    """The CUDA that the installed Paddle was built with, as its own file says."""
    try:
        file = metadata.distribution("paddlepaddle-gpu").locate_file("paddle/version/__init__.py")
        found = re.search(r"cuda_version\s*=\s*'(\d+)\.", Path(str(file)).read_text(encoding="utf-8"))
    except (metadata.PackageNotFoundError, OSError):
        return None
    return int(found.group(1)) if found else None


def parts(version: Version = version_of, paddle: Callable[[], int | None] = paddle_cuda) -> list[Part]:
    """What is installed and needs CUDA."""
    found = []
    if (paddles := version("paddlepaddle-gpu")) and (cuda := paddle()):
        found.append(Part("paddlepaddle-gpu", paddles, cuda))
    if runtime := version("onnxruntime-gpu"):
        table = [((1, 19), 11), ((1, 28), 12)]
        found.append(Part("onnxruntime-gpu", runtime, _first_below(table, runtime, 13)))
    for cuda in (12, 13):
        for name in (f"tensorrt-cu{cuda}", f"tensorrt-rtx-cu{cuda}"):
            if tensorrt := version(name):
                found.append(Part(name, tensorrt, cuda))
    return found


def problems(found: Sequence[Part], driver: str | None, version: Version = version_of) -> list[str]:
    """What cannot load together, or not with this driver; each with what to do."""
    told = []
    for one, other in SAME_MODULE:
        if version(one) and version(other):
            told.append(
                f"{one} and {other} overwrite each other's files: pip uninstall -y {one} {other}, then install the one "
                "that is wanted again"
            )
    branch = driver_branch(driver)
    for part in found:
        needed = OLDEST_DRIVER.get(part.cuda)
        if branch is not None and needed is not None and branch < needed:
            told.append(
                f"{part.distribution} {part.version} wants CUDA {part.cuda}, whose oldest driver is {needed}; this "
                f"one is {branch}: update the driver, or install a version for an older CUDA"
            )
    versions = sorted({part.cuda for part in found})
    if len(versions) > 1:
        listed = ", ".join(f"{part.distribution} wants CUDA {part.cuda}" for part in found)
        told.append(f"parts want different versions of CUDA, whose libraries all have to be there: {listed}")
    return told


def fitting(driver: str | None) -> Stack | None:
    """The newest stack that this driver runs; ``None`` without a driver."""
    branch = driver_branch(driver)
    if branch is None:
        return None
    return next((stack for stack in STACKS if branch >= OLDEST_DRIVER[stack.cuda]), None)


def predicted_device(asked: str, driver: str | None, version: Version = version_of) -> str:
    """Where training and compression will compute, in words; the worker itself asks Paddle.

    Args:
        asked: ``run.device``.
        driver: what NVIDIA's driver calls itself, ``None`` without one.
    """
    if asked == CPU:
        return "the CPU"
    built = version("paddlepaddle-gpu") is not None
    if built and driver:
        return "GPU 0" if asked in (AUTO, "gpu") else f"GPU {asked.partition(':')[2]}"
    if driver:
        return "the CPU, although there is a GPU: the installed paddlepaddle is a build for the CPU (detpress doctor)"
    return "the CPU" if asked == AUTO else f"nothing: run.device={asked}, and there is no NVIDIA driver here"
