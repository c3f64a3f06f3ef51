"""Running a Paddle inference model where this process runs its programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle.inference as inference

from stages.paddle.runtime.place import alone_in_onednn, gpu_index, on_gpu

Array = npt.NDArray[Any]

GPU_MEMORY_MB = 256  # to begin with; Paddle takes more when it needs it


class Predictor:
    """Paddle Inference; ``onednn`` picks its fast convolutions on the CPU (FP32, small rounding differences)."""

    def __init__(self, program: Path, params: Path, *, threads: int = 1, onednn: bool = False) -> None:
        config = inference.Config(str(program), str(params))
        if on_gpu():
            config.enable_use_gpu(GPU_MEMORY_MB, gpu_index())
        else:
            config.disable_gpu()
        config.disable_glog_info()
        config.set_cpu_math_library_num_threads(threads)
        if onednn and not on_gpu():
            config.enable_mkldnn()
            config.set_mkldnn_cache_capacity(1)  # one input shape only
        elif not onednn:
            config.disable_mkldnn()
            config.switch_ir_optim(False)  # the graph as it stands in the file: this is the reference
        self._predictor = inference.create_predictor(config)

    def run(self, feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs in the order of the file, as copies."""
        for name in self._predictor.get_input_names():
            self._predictor.get_input_handle(name).copy_from_cpu(np.ascontiguousarray(feeds[name]))
        with alone_in_onednn():
            self._predictor.run()
        names = self._predictor.get_output_names()
        return [np.array(self._predictor.get_output_handle(name).copy_to_cpu()) for name in names]
