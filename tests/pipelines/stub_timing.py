"""A stand-in of the latency stage for tests of the store; apart from the other stubs, since it imports the real one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from stages.artifacts import LatencyResult
from stages.contract import StageContext
from stages.latency.latency import Latency
from tests.pipelines.stubs import StubInputs


@dataclass
class TimingOptions:
    """Those of `StubTiming`, and of the real stage what its `objection` asks for."""

    loud: str = ""
    """Other processes disturb the timing while there is a file of this name."""
    limits: dict[str, float] = field(default_factory=dict)
    max_rounds: int = 20


class StubTiming:
    """A timing of three rounds, whose ratio lies between 1.4 and 1.6."""

    name: ClassVar[str] = "stub_timing"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()
    unkeyed: ClassVar[tuple[str, ...]] = ("limits", "max_rounds")
    Options = TimingOptions
    Inputs = StubInputs
    Output = LatencyResult
    objection = staticmethod(Latency.objection)

    def __init__(self, options: TimingOptions) -> None:
        self.options = options

    def run(self, inputs: StubInputs, context: StageContext) -> LatencyResult:
        disturbed = bool(self.options.loud) and Path(self.options.loud).is_file()
        return LatencyResult(
            root=context.out,
            backend="stub",
            disturbed=["int8 runtime: invalid: CPU shared with the load of other processes (77% of its time)"]
            * disturbed,
            rounds={"runtime": 3, "end2end": 3},
            intervals={"over_fp32.int8.runtime": [1.4, 1.6]},
        )
