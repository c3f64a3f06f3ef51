"""What every backend's options have, and the building of an engine (`conf/backend`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.options.rules import POSITIVE, option


@dataclass
class BackendOptions:
    """Common to every backend (``conf/backend``)."""

    threads: int = option(1, POSITIVE, "CPU threads of the engine")


@dataclass
class BuildOptions:
    """Building one engine (stage ``build``)."""

    backend: str = option("onnxruntime", doc="name of the backend")
    options: dict[str, Any] = option({}, doc="the backend's options")
