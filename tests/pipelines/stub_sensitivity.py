"""A sensitivity analysis that measures nothing, for tests of what the command does with one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stages.artifacts import Sensitivity, hash_files
from stages.contract import StageContext
from stages.mixed_precision.ranking import Damage
from stages.mixed_precision.sensitivity import describe, write
from stages.options.sensitivity import SensitivityOptions


class StubSensitivity:
    """Two blocks, always the same."""

    name: ClassVar[str] = "sensitivity"
    version: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ()
    Options = SensitivityOptions
    Output = Sensitivity

    @dataclass(frozen=True)
    class Inputs:
        pass

    def __init__(self, options: SensitivityOptions) -> None:
        self.options = options

    def run(self, inputs: Inputs, context: StageContext) -> Sensitivity:
        found = [Damage("neck.worst", 2, 0.5, 0.3, 1.25, 0.5, 2.0), Damage("head.fine", 1, 0.5, 0.1, 0.0, -0.5, 0.5)]
        write(describe(found, self.options, "train", 7, 44.0), context.out)
        return Sensitivity(root=context.out, files=hash_files(context.out), backend="onnxruntime")
