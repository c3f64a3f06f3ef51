"""The jobs of a sweep on a Ray cluster: each a ``detpress`` command of its own, in a task that watches over it.

A job is a process of its own and not a function in Ray's worker: it keeps its exit code, its signals and its locks, and
whatever it imports dies with it. If the worker is killed, the job is told by a signal, ends its run as KILLED, and Ray
starts the task again elsewhere; what was finished is in the store.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.system import telemetry
from pipelines.system.output import say
from stages.errors import ExitCode, InputError, StageError, UnavailableError
from stages.processes import python
from stages.processes.signals import kept

LOST = ExitCode.STAGE_FAILED
"""Exit code of a job whose node died more often than it may be started again."""
_TAIL = 15  # lines of a failed job's log that are shown
_STORE_BYTES = 80_000_000  # Ray's smallest: nothing large passes through its object store


@dataclass
class RayOptions:
    """``conf/hydra/launcher/ray.yaml``."""

    address: str | None = None
    local_cpus: int | None = None
    cpus: float = 1
    gpus: float = 0
    resources: dict[str, float] = field(default_factory=dict)
    retries: int = 1

    def __post_init__(self) -> None:
        amounts = {"cpus": self.cpus, "gpus": self.gpus, "retries": self.retries, **self.resources}
        if self.local_cpus is not None:
            amounts["local_cpus"] = self.local_cpus
        bad = [name for name, v in amounts.items() if isinstance(v, bool) or not isinstance(v, (int, float)) or v < 0]
        if bad:
            raise InputError(f"hydra.launcher: {', '.join(bad)} must be a number, 0 or more")
        if (
            not isinstance(self.retries, int)
            or self.local_cpus == 0
            or not isinstance(self.local_cpus, (int, type(None)))
        ):
            raise InputError("hydra.launcher: retries and local_cpus must be whole numbers, local_cpus at least 1")


@dataclass
class Sweep:
    """What the launcher has to know of the command that Hydra does not tell it; ``codes`` is its answer."""

    command: Sequence[str]
    """The sub-command and its flags, e.g. ``("compress",)``: the job's overrides follow."""
    module: str = "pipelines.cli"
    codes: list[int] = field(default_factory=list)
    flags: list[str] = field(default_factory=list)
    """More flags of its jobs: what a search asks of its trials."""
    said: dict[int, str] = field(default_factory=dict)
    """Job -> what it printed on standard output."""
    code: int | None = None
    """Exit code of the whole, where it is not that of the worst job."""
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """The cluster: a sweep in several batches starts it once."""
    ray: Any = None


_current: list[Sweep] = []


@contextlib.contextmanager
def sweep(command: Sequence[str], module: str = "pipelines.cli") -> Iterator[Sweep]:
    """While Hydra works: the command whose jobs are launched, and the module that has it."""
    _current.append(Sweep(command, module))
    try:
        with _current[-1].held:
            yield _current[-1]
    finally:
        _current.pop()


def current() -> Sweep:
    """That of the command which is at work."""
    return _current[-1]


def launch(options: RayOptions, jobs: Sequence[Sequence[str]], *, logs: Path, first: int = 0) -> list[int]:
    """Run the jobs, as many at once as the cluster has room for, and return their exit codes in their order.

    Args:
        jobs: the overrides of each.
        logs: folder for what the jobs say on standard error, ``JOB.log``.
        first: number of the first job.

    Raises:
        UnavailableError: there is no Ray.
        StageError: the cluster cannot be reached, or is too small for a job.
    """
    mine = current()
    ray = _ray()
    logs.mkdir(parents=True, exist_ok=True)
    codes: list[int] = [LOST] * len(jobs)
    if mine.ray is None:
        mine.held.enter_context(_cluster(ray, options))
        mine.ray = ray
    task = ray.remote(
        num_cpus=options.cpus, num_gpus=options.gpus, resources=options.resources, max_retries=options.retries
    )(run_job)
    pending = {}
    for i, overrides in enumerate(jobs):
        words = ("pipelines.execution.ray_sweep", mine.module, *mine.command, *mine.flags, *overrides)
        ways = [python.command(*words)[1:], python.elsewhere(*words)]
        pending[task.remote(ways, python.STARTER, str(Path.cwd()), telemetry.off({}))] = i
    say(f"{len(jobs)} jobs on a Ray cluster, logs in {logs}")
    while pending:
        (done,), _ = ray.wait(list(pending), num_returns=1)
        i = pending.pop(done)
        log = logs / f"{first + i}.log"
        try:
            codes[i], out, err = ray.get(done)
        except ray.exceptions.RayError as error:
            out, err = "", f"{type(error).__name__}: {error}\n"
        log.write_text(err, encoding="utf-8")
        mine.said[first + i] = out
        _tell(first + i, jobs[i], codes[i], "" if mine.flags else out, err)
    mine.codes += codes
    return codes


def run_job(
    ways: Sequence[Sequence[str]], starter: str, folder: str, switches: Mapping[str, str]
) -> tuple[int, str, str]:
    """In Ray's worker: one command in ``folder``; returns its exit code and what it printed.

    It uses the standard library alone, and travels to the worker as code: a worker searches folders of its own, where
    packages named as ours may lie.

    Args:
        ways: arguments of the interpreter where ``starter`` is there as here, and where it is not.
        switches: added to the environment.
    """
    env = {**os.environ, **switches, "PYTHONSAFEPATH": "1"}
    # Ray sets the first to what a task reserved, which says nothing of how many threads a stage should use.
    for name in ("OMP_NUM_THREADS", "PYTHONPATH"):
        env.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, *ways[0 if Path(starter).is_file() else 1]],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    try:
        out, err = process.communicate()
    except BaseException:  # Ray stops the task
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        process.kill()
        raise
    return process.returncode if process.returncode >= 0 else 128 - process.returncode, out, err


def _ray() -> Any:
    telemetry.off(os.environ)
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UnavailableError(
            "hydra/launcher=ray needs Ray, which is not installed; pip install 'detpress[ray]', or leave it out"
        ) from error
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # see `run_job`
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, options: RayOptions) -> Iterator[None]:
    """Join the cluster, or start one here for as long as the sweep takes."""
    address = options.address or os.environ.get("RAY_ADDRESS")
    own: Mapping[str, Any] = {"num_cpus": options.local_cpus, "object_store_memory": _STORE_BYTES}
    with tempfile.TemporaryDirectory(prefix="detpress-ray-") as empty:
        try:
            # Ray's workers search the folder that it starts in for modules, before all others. It hears signals itself
            # from then on, and our exit codes would be lost.
            with kept((signal.SIGTERM, signal.SIGINT)), _inside(empty):
                ray.init(
                    address=address or "local",
                    include_dashboard=None if address else False,
                    log_to_driver=False,
                    logging_level="error",
                    **({} if address else own),
                )
        except Exception as error:  # whatever Ray or the network can raise
            where = f"the Ray cluster at {address} cannot be joined" if address else "Ray cannot start here"
            raise StageError(f"{where}: {error}; see `ray status`, and hydra.launcher.address") from error
        try:
            _require_room(ray, options)
            yield
        finally:
            ray.shutdown()


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """``folder`` as the current one."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _require_room(ray: Any, options: RayOptions) -> None:
    """A job that fits on no node would wait for ever."""
    demand = {"CPU": options.cpus, "GPU": options.gpus, **options.resources}
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(all(node.get(name, 0) >= count for name, count in demand.items()) for node in nodes):
        asked = ", ".join(f"{count:g} {name}" for name, count in demand.items() if count)
        raise StageError(
            f"no node of the Ray cluster has {asked}, which a job takes; lower hydra.launcher.cpus or gpus"
        )


def _tell(number: int, overrides: Sequence[str], code: int, out: str, err: str) -> None:
    say(f"job {number} ({' '.join(overrides)}): exit code {code}")
    if code not in (ExitCode.DONE, ExitCode.UNCHANGED):
        for line in err.splitlines()[-_TAIL:]:
            say(f"    {line}")
    print(out, end="", flush=True)


def main() -> None:
    """The job's process: a killed worker must not leave it behind, beside the one that is started anew."""
    from stages.processes.pipes import die_with_parent

    die_with_parent()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
