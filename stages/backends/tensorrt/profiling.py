"""Where the time goes in TensorRT: its ``IProfiler``, on a context of its own. Tested on a stand-in, never on a GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from stages.backends.profiled import Profiled
from stages.backends.tensorrt.cuda import Cuda
from stages.backends.tensorrt.inspector import layers_of
from stages.backends.tensorrt.session import TensorRtSession
from stages.errors import UnavailableError


class ProfilingSession(TensorRtSession):
    """A session whose context tells what each layer took. Neither page-locked nor a CUDA graph, which is one piece."""

    def __init__(
        self, trt: Any, engine: Any, cuda: Cuda, outputs: list[str], types: Mapping[str, npt.DTypeLike] | None = None
    ) -> None:
        """
        Raises:
            UnavailableError: this version has no profiler.
        """
        super().__init__(trt, engine, cuda, outputs, types=types)
        if not hasattr(trt, "IProfiler"):
            self.close()
            raise UnavailableError(f"{trt.__name__} {trt.__version__} has no IProfiler")
        inspector = engine.create_engine_inspector()
        self._text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
        self._ends, self._times = list(outputs), _times(trt)
        self._context.profiler = self._times  # from now on each run waits for the GPU and reports

    def note(self) -> None:
        """TensorRT has reported it by then."""

    def profiled(self) -> Profiled:
        return Profiled(layers_of(self._text, self._times.ms), self._ends)


def _times(trt: Any) -> Any:
    """TensorRT's profiler, which it calls for each layer of each run: a base class differs by module, as a logger's."""

    class Times(trt.IProfiler):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)
            self.ms: dict[str, list[float]] = defaultdict(list)

        def report_layer_time(self, layer_name: str, ms: float) -> None:
            self.ms[layer_name].append(float(ms))

    return Times()
