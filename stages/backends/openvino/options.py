"""Options of OpenVINO (`conf/backend/openvino.yaml`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.backend import BackendOptions


@dataclass
class OpenVinoOptions(BackendOptions):
    """OpenVINO on the CPU."""

    precision_hint: str = "f32"
    """What float layers are computed in: ``f32``, or ``bf16`` / ``f16`` where the CPU has it."""
    lowering: list[str] | None = None
    """Names of the graph passes applied to the INT8 model; ``None``: the recipe of the backend."""
