"""What every backend's options have, and the building of an engine (`conf/backend`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.numerics.variants import VARIANTS
from stages.options.export import Inside
from stages.options.rules import between, option, some_of


@dataclass
class BackendOptions:
    """Common to every backend (``conf/backend``)."""

    threads: int = option(1, between(1, 1024), "CPU threads of the engine")
    variants: list[str] | None = option(
        None,
        some_of(lambda: VARIANTS, "variant", least=1),
        "the engines that are built: `fp32`, `bf16`, `fp16` (all in float), `int8`, `int8_bf16`, `int8_fp16` (what is "
        "not INT8 in that format), and `_pm` behind a name to open the engine with page-locked buffers, `_pm_graph` to "
        "launch it as a CUDA graph too; `fp32` has to be among them; null: what suits the backend and this machine",
    )


@dataclass
class BuildOptions:
    """Building one engine (stage ``build``)."""

    backend: str = option("onnxruntime", doc="name of the backend")
    options: dict[str, Any] = option(
        {}, doc="the backend's options; its `variants` names the one that is built, by default the model's precision"
    )
    inside: Inside | None = option(None, doc="what the engine does itself; null: neither NMS nor the normalisation")
