"""Where the time goes in OpenVINO: its performance counts, made into times of single runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.backends.base import Array, Feeds
from stages.backends.openvino.executed import read_counts
from stages.backends.openvino.session import OpenVinoSession
from stages.backends.profiled import Profiled
from stages.errors import StageError

RUNS = 8
"""Runs after which the model is compiled anew. A count is the mean of all runs since then, in whole microseconds: what
a run took is the difference of two sums, and its error grows with their number."""


class ProfilingSession(OpenVinoSession):
    """An engine that is compiled with ``PERF_COUNT``."""

    def __init__(self, compiled: Callable[[], Any], outputs: list[str]) -> None:
        """
        Args:
            compiled: compiles the model; called again and again.
        """
        self._compile, self._outputs = compiled, outputs
        self._first = compiled()
        super().__init__(self._first, outputs)
        self._names: list[str] = []
        self._kinds: list[str] = []
        self._feeds: Feeds = {}
        self._count, self._sums = 0, list[float]()
        self._took: list[dict[str, float]] = []

    def infer(self, feeds: Feeds) -> list[Array]:
        self._feeds = feeds
        self._count += 1
        return super().infer(feeds)

    def note(self) -> None:
        sums = self._read()
        before = self._sums or [0.0] * len(sums)
        self._took.append({n: max(0.0, s - b) for n, s, b in zip(self._names, sums, before, strict=True)})
        self._sums = sums
        if self._count >= RUNS:
            super().__init__(self._compile(), self._outputs)
            self._count = 0
            self.infer(self._feeds)  # a first run allocates, and is none of those that are told
            self._sums = self._read()

    def profiled(self) -> Profiled:
        return read_counts(self._first, self._took)

    def _read(self) -> list[float]:
        """Milliseconds of each node over all runs since the model was compiled.

        Nodes that OpenVINO made have another name each time, so that they are known by their place.
        """
        told = self._request.profiling_info
        kinds = [info.node_type for info in told]
        if not self._names:
            self._names, self._kinds = [info.node_name for info in told], kinds
        if kinds != self._kinds:
            raise StageError("OpenVINO compiled the same model to other layers than before; report this")
        return [info.real_time.total_seconds() * 1e3 * self._count for info in told]
