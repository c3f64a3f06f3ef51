"""What a backend is: it builds an engine from an exported model, opens it, and says whether this machine can do so.

Importing this module, or a backend's module, imports no runtime: that happens in `build` and `open`. Timing,
preprocessing and NMS live elsewhere, so that they are the same for every backend.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import numpy.typing as npt

from stages.artifacts import Engine, ExportedModel, Precision
from stages.errors import ConfigError
from stages.options.backend import BackendOptions
from stages.options.check import check_options
from stages.options.export import Inside

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]


@dataclass(frozen=True)
class Available:
    """The backend can build here and, with ``can_run``, run too; ``detail`` says on what, or why it cannot run."""

    detail: str
    can_run: bool = True


@dataclass(frozen=True)
class Unavailable:
    """The backend cannot run here, why, and the line that installs it (empty: nothing to install would help)."""

    reason: str
    install: str = ""

    def __str__(self) -> str:
        return f"{self.reason}; install it with: {self.install}" if self.install else self.reason


@dataclass(frozen=True)
class Built:
    """What `Backend.build` made: the main file's name in the output folder, and notes for the report.

    ``notes`` may hold ``passes`` (the lowering's reports) and ``audit`` (see `stages/backends/audit.py`).
    """

    main: str
    notes: dict[str, Any]


class Session(Protocol):
    """An opened engine. Not for use from several threads at once."""

    def infer(self, feeds: Feeds) -> list[Array]:
        """Run once, host to host, and return when the outputs are there: [boxes, scores], or with NMS in the engine
        [num_dets, boxes, scores, labels]."""


@runtime_checkable
class GpuSession(Session, Protocol):
    """A session on a GPU that can do its copies and its work one by one."""

    def steps(self, feeds: Feeds) -> list[tuple[str, Callable[[], None]]]:
        """``(host_to_device | compute | device_to_host, call)``, in this order; each call ends when the GPU has."""


@runtime_checkable
class Backend(Protocol):
    """One runtime. Constructed without arguments; has no state.

    One that is of use on NVIDIA GPUs only may say so with ``for_gpus = True``: `detpress doctor` then does not ask for
    it on a machine that has none.
    """

    name: ClassVar[str]
    Options: ClassVar[type[BackendOptions]]

    def availability(self, options: BackendOptions | None = None) -> Available | Unavailable:
        """Whether this machine can build and run an engine with these options (with the defaults by default)."""

    def fingerprint(self) -> Mapping[str, str]:
        """What an engine's validity depends on: versions, device, driver. Imports no runtime."""

    def prepare(self) -> None:
        """Import the runtime, so that the time to open an engine is not the time to import it."""

    def build(self, model: ExportedModel, precision: Precision, options: BackendOptions, out: Path) -> Built:
        """Write the engine's files into ``out``. Raises StageError if the model cannot be built.

        Args:
            precision: of the weights, that is of ``model``.
            options: with ``variants`` naming what is built, if that is not ``precision`` itself
                (`stages/backends/variants.py`).
        """

    def open(self, engine: Engine) -> AbstractContextManager[Session]:
        """Load an engine with the options it was built with, as its ``variant`` says."""


@runtime_checkable
class BuildsInside(Backend, Protocol):
    """A backend whose engines can do NMS or the normalisation of pixels themselves.

    Their sessions then take and give what `stages/lowering/inside.py` says.
    """

    def why_not_inside(self, inside: Inside, options: BackendOptions) -> str | None:
        """Why an engine cannot be built so, with these options; ``None`` if it can. Imports no runtime."""

    def build(
        self,
        model: ExportedModel,
        precision: Precision,
        options: BackendOptions,
        out: Path,
        inside: Inside | None = None,
    ) -> Built: ...


@runtime_checkable
class Repeatable(Backend, Protocol):
    """A backend whose engines several processes may run at once, each with the same outputs to the bit.

    One that does not say so (a GPU, a device that only one process can open) is scored by one process.
    """

    def is_repeatable(self, engine: Engine) -> bool:
        """Whether this engine is such a one."""


@runtime_checkable
class OwnOnnx(Backend, Protocol):
    """A backend whose users build engines from a bundle's ONNX file themselves, with passes that its parser needs.

    Beside any other engine that is no ONNX file lies a graph that several runtimes run right
    (`stages.backends.recipes.PORTABLE`).
    """

    onnx_recipe: tuple[str, ...]
    """Names of the passes that an INT8 graph goes through for that."""


@runtime_checkable
class Streaming(Backend, Protocol):
    """A backend whose engines run several inferences at once in one process, each with its own CPU threads.

    One that does not say so is not offered throughput: see `stages/throughput`.
    """

    def why_no_streams(self, engine: Engine) -> str | None:
        """Why this engine has none; ``None`` if it has. Imports no runtime."""

    def open_streams(self, engine: Engine, streams: int, threads: int) -> AbstractContextManager[Sequence[Session]]:
        """Load an engine as ``streams`` sessions with ``threads`` CPU threads each, in the place of those that it was
        built with. They may run at once, each in a thread of its own."""


Opts = TypeVar("Opts", bound=BackendOptions)


def parse_options(backend: str, kind: type[Opts], values: Mapping[str, Any]) -> Opts:
    """``values`` as the backend's dataclass.

    Raises:
        ConfigError: with every name that the dataclass does not have, and every value that breaks its rule.
    """
    known = [f.name for f in dataclasses.fields(kind)]
    problems = [
        f"backend.{backend}.{name}: no such option; it has {', '.join(known)}" for name in values if name not in known
    ]
    made = kind(**{name: value for name, value in values.items() if name in known})
    problems += map(str, check_options(made, f"backend.{backend}"))
    if problems:
        raise ConfigError(problems)
    return made


def own_options(backend: str, kind: type[Opts], options: BackendOptions, contradictions: Sequence[str] = ()) -> Opts:
    """``options``, which have to be the backend's own kind, with values that fit and go together.

    Args:
        contradictions: what the backend itself found wrong with several options together.

    Raises:
        ConfigError: with every problem.
    """
    if not isinstance(options, kind):
        raise ConfigError([f"backend {backend} got {type(options).__name__}; it needs {kind.__name__}"])
    problems = [*map(str, check_options(options, f"backend.{backend}")), *contradictions]
    if problems:
        raise ConfigError(problems)
    return options


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, without importing it; None if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_lines() -> dict[str, str] | None:
    """What the system says of the CPU; ``None`` where it does not."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return None
    lines: dict[str, str] = {}  # the last core's values win; cores are alike
    for line in info.read_text().splitlines():
        name, _, value = line.partition(":")
        lines[name.strip()] = value.strip()
    return lines


def _flags(lines: Mapping[str, str]) -> list[str]:
    return lines.get("flags", lines.get("Features", "")).split()


def cpu_has(*flags: str) -> bool:
    """Whether the CPU has one of the instruction sets; no where the system does not say."""
    return not set(flags).isdisjoint(_flags(_cpu_lines() or {}))


def cpu_name() -> str:
    """The CPU's model name and the INT8 instructions it has, since an engine's speed and kernels hang on them."""
    lines = _cpu_lines()
    if lines is None:
        return platform.processor() or platform.machine()
    model, flags = lines.get("model name", platform.machine()), _flags(lines)
    return " ".join([model, *(f for f in ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp") if f in flags)])


def nvidia_driver() -> str | None:
    """The version of the loaded NVIDIA driver; None without one."""
    info = Path("/proc/driver/nvidia/version")
    if not info.exists():
        return None
    words = info.read_text().split()
    return next((w for w in words if w[:1].isdigit() and "." in w), "unknown")


def nvidia_gpus() -> list[str]:
    """The names of the NVIDIA GPUs, as the driver lists them."""
    found = []
    for info in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        found += [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("Model")]
    return found
