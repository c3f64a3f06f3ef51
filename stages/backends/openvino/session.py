"""An engine that OpenVINO has compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.backends.base import Array, Feeds
from stages.errors import StageError


class OpenVinoSession:
    def __init__(self, compiled: Any, outputs: list[str]) -> None:
        have = {name: port for port in compiled.outputs for name in port.get_names()}
        if missing := [name for name in outputs if name not in have]:
            raise StageError(f"the engine has no output {missing[0]!r} (it has {', '.join(have)}); build it again")
        self._request = compiled.create_infer_request()
        self._ports = [have[name] for name in outputs]

    def infer(self, feeds: Feeds) -> list[Array]:
        results = self._request.infer(dict(feeds), share_inputs=True)
        return [np.asarray(results[port]) for port in self._ports]
