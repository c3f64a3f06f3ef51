"""A stage run as the product runs it: in a worker process of its own. And whatever else needs Paddle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.artifacts import Artifact
from stages.codec import artifact_from_json, to_json
from tests.conftest import ROOT
from tests.stages import forks


def probed(module: str, *arguments: str, given: object = None, timeout: float = 300) -> Any:
    """The JSON on the last line that ``python -m module`` prints; ``given`` goes to its standard input, as JSON."""
    return json.loads(forks.run(module, *arguments, given=json.dumps(given), timeout=timeout).splitlines()[-1])


class Worker:
    """One worker; its folders stay, so that a second one can go on from the first.

    It is forked from a process that has loaded Paddle, unless it is to be ``fresh``: started as the product starts it.
    The same weights come out, bit for bit; the programs that Paddle saves differ by the calls that they remember.
    """

    def __init__(
        self,
        folder: Path,
        stage: str,
        options: object,
        inputs: object,
        seed: int = 3,
        fresh: bool = False,
        device: str = "cpu",
        gpus: int | None = None,
    ) -> None:
        """``gpus``: so many stand-ins for GPUs (tests/stages/paddle/gpu_standin.py); ``None``: Paddle as it is."""
        self.out, self.work = folder / "out", folder / "work"
        for path in (self.out, self.work):
            path.mkdir(parents=True, exist_ok=True)
        request = {
            "stage": stage,
            "options": to_json(options),
            "inputs": to_json(inputs),
            "out": str(self.out),
            "work": str(self.work),
            "seed": seed,
            "threads": 1,
            "device": device,
        }
        file = folder / "request.json"
        file.write_text(json.dumps(request))
        self.events: list[dict[str, Any]] = []
        self.log_file = folder / "log.txt"
        self._log = self.log_file.open("a")
        module, environment = "stages.processes.worker", {**os.environ, "OMP_NUM_THREADS": "1"}
        if gpus is not None:
            module, environment["STANDIN_GPUS"] = "tests.stages.paddle.gpu_standin", str(gpus)
        self._process: subprocess.Popen[str] | forks.Forked
        if fresh:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(file)],
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
                cwd=ROOT,
                env=environment,
            )
        else:
            self._process = forks.Forked(module, str(file), env=environment, stderr=self._log)

    def wait(
        self,
        kill_at: int | None = None,
        how: signal.Signals = signal.SIGKILL,
        also: Callable[[dict[str, Any]], None] = lambda event: None,
    ) -> int:
        """Read events to the end and give each to ``also``; at the progress of step ``kill_at``, send the signal."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            self.events.append(event)
            also(event)
            if kill_at is not None and event["event"] == "progress" and event["done"] >= kill_at:
                self._process.send_signal(how)
                kill_at = None
        self._process.stdout.close()
        self._log.close()
        return self._process.wait(timeout=120)

    def done(self) -> Any:
        """Wait; the artifact of the successful run."""
        code = self.wait()
        assert code == 0, self.log_file.read_text()[-3000:]
        return self.result

    def failed(self) -> dict[str, Any]:
        """Wait; the error event of a run that failed as it should."""
        assert self.wait() != 0
        assert self.events[-1]["event"] == "error", self.events[-1]
        return self.events[-1]

    @property
    def result(self) -> Artifact:
        assert self.events[-1]["event"] == "result", self.events[-1]
        return artifact_from_json(self.events[-1]["artifact"])

    def said(self, kind: str) -> list[str]:
        return [e["message"] for e in self.events if e["event"] == kind]

    def metrics(self, name: str) -> list[float]:
        return [e["value"] for e in self.events if e["event"] == "metric" and e["name"] == name]


def curve(worker: Worker) -> list[dict[str, float]]:
    """The points of the training that it made, as its stage wrote them."""
    points: list[dict[str, float]] = json.loads((worker.out / "history.json").read_text())
    return points
