"""``detpress doctor``: what this machine can run and, for what it cannot, the reason and the line that installs it.

Nothing is imported to find out: versions come from the installed distributions' metadata, so that the answer takes
less than two seconds and a broken package cannot crash it.
"""

from __future__ import annotations

import json
import platform
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.config.variants import offer
from pipelines.execution.interpreter import OWN, Interpreter
from pipelines.execution.paddle_python import missing, paddle_python
from pipelines.system import gpu_stack, provenance
from pipelines.system.arguments import Parser
from pipelines.system.install import checkout, fitted
from stages import backends
from stages.backends.base import Available, version_of
from stages.errors import ExitCode
from stages.processes import python

OK, WARNING, MISSING, UNNEEDED = "ok", "warning", "missing", "not needed"

PADDLE = {
    "paddlepaddle": ("2.6.2", "3.3.1"),
    "paddle2onnx": ("1.3.1",),
    "paddleslim": ("2.6.0",),
    "paddledet": ("2.6.0",),
}
"""Distribution -> the versions that the project was tested with; others are reported, not refused."""
_EXTRA = 'pip install "detpress[paddle]"'
_NO_DEPS = "pip install --no-deps paddleslim==2.6.0 paddledet==2.6.0"
"""Their pins contradict each other (see tool.uv in pyproject.toml), so no resolver installs the two together."""
_UNDECLARED = {
    "requests": "requests",
    "six": "six",
    "pandas": "pandas<3",
    "motmetrics": "motmetrics",
    "lap": "lap",
    "pyclipper": "pyclipper",
    "shapely": "shapely",
    "terminaltables": "terminaltables",
    "typeguard": "typeguard",
    "Cython": "Cython",
    "scikit-learn": "scikit-learn",
    "pyzmq": "pyzmq",
    "decorator": "decorator",
    "setuptools": "setuptools<81",
}
"""What paddleslim and paddledet import beyond what ``--no-deps`` leaves in place: distribution -> requirement."""
_INT8_FLAGS = {"amx_int8": "AMX", "avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "asimddp": "dot product"}
_MIN_MEMORY_GB, _MIN_DISK_GB = 6.0, 5.0


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    group: str
    name: str
    status: str
    detail: str
    install: str = ""


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the table; ``WRONG_INPUT`` if ``detpress compress`` cannot run here."""
    parser = Parser(
        prog="detpress doctor",
        description="What this machine can run. Exit code 0 if `detpress compress` can, else 2.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where results will go (run.artifacts)")
    options = parser.parse_args(arguments)
    workers = paddle_python(None)
    checks = [
        *machine(Path(options.artifacts)),
        *gpu(workers),
        *paddle_of(workers),
        *engines(workers),
        *variants(workers),
        *tracking(),
    ]
    able = can_compress(checks)
    if options.json:
        rows = [{**asdict(check), "install": fitted(check.install)} for check in checks]
        print(json.dumps({"schema_version": 1, "can_compress": able, "checks": rows}, indent=1))
    else:
        _print(checks, able)
    return ExitCode.DONE if able else ExitCode.WRONG_INPUT


def can_compress(checks: Sequence[Check]) -> bool:
    """The Paddle side is whole, Python fits, and at least one backend is there."""
    needed = [c for c in checks if c.group == "paddle" or c.name == "python"]
    engine = any(c.group == "backend" and c.status == OK for c in checks)
    return engine and all(c.status != MISSING for c in needed)


def machine(artifacts: Path) -> list[Check]:
    """Python, CPU, memory and disk."""
    version = platform.python_version()
    fits = (3, 10) <= sys.version_info[:2] <= (3, 14)
    checks = [
        Check("machine", "python", OK if fits else MISSING, version + ("" if fits else "; 3.10 to 3.14 is needed")),
        Check("machine", "cpu", OK, provenance.hardware()),
    ]
    if ignored := python.ignored_path():
        detail = f"{ignored} is not searched for modules; install with pip what is needed from there"
        checks.append(Check("machine", "PYTHONPATH", WARNING, detail))
    int8 = [name for flag, name in _INT8_FLAGS.items() if flag in _cpu_flags()]
    checks.append(
        Check("machine", "int8 instructions", OK, ", ".join(int8))
        if int8
        else Check("machine", "int8 instructions", WARNING, "none known: INT8 gains little on this CPU")
    )
    memory = psutil.virtual_memory()
    total, free = memory.total / 2**30, memory.available / 2**30
    checks.append(_amount("memory", free, f"{free:.1f} GiB free of {total:.1f} GiB", _MIN_MEMORY_GB))
    folder = artifacts.resolve()
    while not folder.exists():
        folder = folder.parent
    disk = shutil.disk_usage(folder).free / 2**30
    checks.append(_amount("disk", disk, f"{disk:.1f} GiB free under {folder}", _MIN_DISK_GB))
    if driver := provenance.driver():
        checks.append(Check("machine", "gpu", OK, driver))
    return checks


def gpu(workers: Interpreter = OWN) -> list[Check]:
    """What the installed parts want of CUDA, what does not fit, and what to install where there is a GPU."""
    driver = provenance.driver()
    own = workers.path is None  # the CUDA of another Python's Paddle is written in its files
    found = gpu_stack.parts(workers.version_of, gpu_stack.paddle_cuda if own else lambda: None)
    checks = [Check("gpu", part.distribution, OK, f"{part.version}, wants CUDA {part.cuda}") for part in found]
    checks += [
        Check("gpu", "does not fit", MISSING, problem)
        for problem in gpu_stack.problems(found, driver, workers.version_of)
    ]
    computes = gpu_stack.predicted_device("auto", driver, workers.version_of)
    if driver:
        status = OK if computes.startswith("GPU") else WARNING
        checks.append(Check("gpu", "training", status, f"run.device=auto computes on {computes}"))
    stack = gpu_stack.fitting(driver)
    if stack is not None and not found:
        for line in stack.lines:
            checks.append(Check("gpu", f"for CUDA {stack.cuda}", WARNING, f"{line}; {stack.gpus}"))
    return checks


def paddle_of(workers: Interpreter) -> list[Check]:
    """What training, distillation and export need, of the Python that they run on."""
    if workers.path is not None:
        has = ", ".join(f"{name} {version}" for name in PADDLE if (version := workers.version_of(name)))
        return [Check("paddle", "python", OK, f"{workers.path}: Python {workers.version}, {has}")]
    if sys.version_info[:2] > (3, 12) and version_of("paddlepaddle") is None:
        return [Check("paddle", "python", MISSING, missing(workers))]
    return paddle()


def paddle() -> list[Check]:
    """What training, distillation and export need."""
    checks = []
    for name, tested in PADDLE.items():
        install = _NO_DEPS if name in ("paddleslim", "paddledet") else _EXTRA
        version = _paddle_version() if name == "paddlepaddle" else version_of(name)
        if not version:
            checks.append(Check("paddle", name, MISSING, "not installed", install))
        elif version.split("+")[0] not in tested:
            checks.append(Check("paddle", name, WARNING, f"{version}; tested with {' and '.join(tested)}", install))
        else:
            checks.append(Check("paddle", name, OK, version))
    numpy = version_of("numpy") or "not installed"
    fits = numpy.startswith(("1.", "2.") if _paddle_version().startswith("3.") else "1.")
    detail = numpy if fits else f"{numpy}; Paddle 2.6 was built against numpy 1"
    checks.append(Check("paddle", "numpy", OK if fits else MISSING, detail, "" if fits else 'pip install "numpy<2"'))
    lacking = [name for name in _UNDECLARED if version_of(name) is None]
    if lacking:
        line = "pip install " + " ".join(f'"{r}"' if "<" in (r := _UNDECLARED[name]) else r for name in lacking)
        checks.append(Check("paddle", "undeclared needs", MISSING, f"not installed: {', '.join(lacking)}", line))
    else:
        checks.append(
            Check("paddle", "undeclared needs", OK, f"all {len(_UNDECLARED)} of paddleslim's and paddledet's")
        )
    return checks


def _paddle_version() -> str:
    """The installed Paddle's; "" without one."""
    return version_of("paddlepaddle") or version_of("paddlepaddle-gpu") or ""


def engines(workers: Interpreter = OWN) -> list[Check]:
    """Every backend, those of other distributions among them."""
    checks = []
    for name in backends.names():
        state = workers.availability(name)
        for_gpus = getattr(backends.get(name), "for_gpus", False) and provenance.driver() is None
        if for_gpus and not (isinstance(state, Available) and state.can_run):
            why = state.detail if isinstance(state, Available) else f"not needed without an NVIDIA GPU ({state.reason})"
            checks.append(Check("backend", name, UNNEEDED, why))
        elif isinstance(state, Available):
            checks.append(Check("backend", name, OK if state.can_run else WARNING, state.detail))
        else:
            checks.append(Check("backend", name, MISSING, state.reason, state.install))
    return checks


def variants(workers: Interpreter = OWN) -> list[Check]:
    """The precisions that each backend makes here, and why not the others."""
    able = [name for name in backends.names()
            if isinstance(state := workers.availability(name), Available) and state.can_run]  # fmt: skip
    return [Check("engines", name, OK, offer(name).sentence) for name in able]


def tracking() -> list[Check]:
    """MLflow."""
    version = version_of("mlflow")
    if version is None:
        return [Check("tracking", "mlflow", MISSING, "not installed; tracking=none does without", "pip install mlflow")]
    return [Check("tracking", "mlflow", OK, version)]


def _amount(name: str, have: float, detail: str, need: float) -> Check:
    if have >= need:
        return Check("machine", name, OK, detail)
    return Check("machine", name, WARNING, f"{detail}; large models want {need:g}")


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return set()
    lines = (line.partition(":") for line in info.read_text().splitlines())
    return {flag for key, _, value in lines if key.strip() in ("flags", "Features") for flag in value.split()}


def _print(checks: Sequence[Check], able: bool) -> None:
    marks = {OK: ("✓", "green"), WARNING: ("!", "yellow"), MISSING: ("✗", "red"), UNNEEDED: ("–", "bright_black")}
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    group = ""
    for check in checks:
        mark, style = marks[check.status]
        shown = check.group if check.group != group else ""
        group = check.group
        quiet = style if check.status == UNNEEDED else ""
        table.add_row(Text(shown, "bold"), Text(mark, style), Text(check.name, quiet), Text(check.detail, quiet))
    console = Console(highlight=False)
    console.print(table)
    lines = list(dict.fromkeys(check.install for check in checks if check.install))
    if lines:
        console.print("\nTo install what is missing:")
        for line in lines:
            console.print(Text(f"  {fitted(line)}"), soft_wrap=True)
        if any(check.group == "paddle" and check.install for check in checks) and (root := checkout()) is not None:
            where = "" if root == Path.cwd() else f" -C {shlex.quote(str(root))}"
            console.print(Text(f"or all of it, from the lock, into .venv: make{where} doctor"), soft_wrap=True)
    if able:
        console.print("\nThis machine can run `detpress compress`.")
    else:
        console.print("\nThis machine cannot run `detpress compress` yet: see the lines marked ✗.")
