"""What every backend's options have, and the building of an engine (`conf/backend`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class BackendOptions:
    """Common to every backend (``conf/backend``)."""

    threads: int = 1
    """CPU threads of the engine."""


@dataclass
class BuildOptions:
    """Building one engine (stage ``build``)."""

    backend: str = "onnxruntime"
    options: dict[str, Any] = field(default_factory=dict)
