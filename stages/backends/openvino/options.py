"""Options of OpenVINO (`conf/backend/openvino.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.lowering.names import KNOWN_PASSES, LOWERING
from stages.options.backend import BackendOptions
from stages.options.rules import one_of, option


@dataclass
class OpenVinoOptions(BackendOptions):
    """OpenVINO on the CPU."""

    precision_hint: str = option(
        "f32",
        one_of("f32", "bf16", "f16"),
        "what float layers are computed in where a variant does not say it: `f32`, or `bf16` and `f16` where the CPU "
        "has them; better named by `variants` (`bf16`, `int8_bf16`), which compares them",
    )
    lowering: list[str] | None = option(None, KNOWN_PASSES, LOWERING)
