"""Small stages for tests of the orchestrator: they run in real worker processes."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import ClassVar

from stages.artifacts import AccuracyResult, Artifact, Precision, hash_files
from stages.contract import StageContext
from stages.errors import DataError


@dataclass
class StubOptions:
    text: str = "hello"
    behave: str = "well"
    """well, fail, raise, crash, print, second (fails the first time), or count (how often it was started)."""
    seconds: float = 0.0


@dataclass(frozen=True)
class StubInputs:
    first: Artifact | None = None
    others: list[Artifact] = field(default_factory=list)


class Stub:
    """Writes its text, and the texts of its inputs, to ``text.txt``."""

    name: ClassVar[str] = "stub"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("numpy",)
    unkeyed: ClassVar[tuple[str, ...]] = ("seconds",)
    Options = StubOptions
    Inputs = StubInputs
    Output = AccuracyResult

    def __init__(self, options: StubOptions) -> None:
        self.options = options

    def run(self, inputs: StubInputs, context: StageContext) -> AccuracyResult:
        behave = self.options.behave
        if behave == "fail":
            raise DataError("the images are green; paint them blue")
        if behave == "raise":
            raise ZeroDivisionError("a bug")
        if behave == "crash":
            os.write(2, b"about to crash\n")
            os.kill(os.getpid(), signal.SIGSEGV)
        if behave == "print":
            print("noise on stdout")
            os.write(1, b"noise from a native library\n")
        context.warn("a warning")
        context.metric("loss", 0.5, step=1)
        starts = context.work / "starts"
        before = starts.read_text() if starts.is_file() else ""  # empty, if the disk was full
        starts.write_text(str(int(before or 0) + 1))
        if behave == "second" and starts.read_text() == "1":
            raise ZeroDivisionError("a bug, this time")
        context.progress(1, 2)
        time.sleep(self.options.seconds)
        parts = [self.options.text]
        for artifact in [inputs.first, *inputs.others]:
            if artifact is not None:
                parts.append(artifact.path("text.txt").read_text())
        (context.out / "text.txt").write_text("+".join(parts))
        (context.out / "starts").write_text(starts.read_text()) if behave == "count" else None
        return AccuracyResult(root=context.out, files=hash_files(context.out), backend="stub", precision=Precision.FP32)
