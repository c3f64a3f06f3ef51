"""Running the static programs of a compression or a training: which kernels, in which order, on how many threads.

Paddle's own convolution writes every patch of the image out and multiplies matrices, forwards and backwards, on one
thread. oneDNN's needs no patches and takes all threads. What stands between two convolutions while training
(quantizers, PACT) has no kernel of oneDNN's, so results change their layout each time; the convolutions win more than
that (docs/decisions/0005-distillation.md has the figures).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle.base import core

from stages.paddle.runtime.place import alone_in_onednn, current_place, on_gpu

Array = npt.NDArray[Any]

_CONVOLUTIONS = ("conv2d", "conv2d_grad")
_MAKING = 2
"""Runs in which a program makes what oneDNN keeps for it; later ones only look it up."""
_SERIAL = "FLAGS_new_executor_serial_run"


class Runner:
    """A program ready to run in the current scope, again and again, while its parameters change.

    Its operators run one after the other, each on ``threads`` threads. Otherwise two workers of Paddle's take whatever
    is ready, and oneDNN keeps buffers for each operator and each worker that ever ran it: a training of PP-YOLOE-l grew
    from 7 to 16 GB within twenty steps, and new memory cost more time than the convolutions. The same order in every
    run makes the same sums, besides.

    Args:
        program: ``paddle.static.Program``; its convolutions are marked for oneDNN, where they run on the CPU and Paddle
            was built with it.
        also: types of other operators that run in oneDNN then.
    """

    def __init__(self, program: Any, threads: int, also: Sequence[str] = ()) -> None:
        if core.is_compiled_with_mkldnn() and not on_gpu():
            _mark_for_onednn(program, (*_CONVOLUTIONS, *also))
        strategy = paddle.static.BuildStrategy()
        strategy.memory_optimize = False
        # Quantizers read what an in-place operator would overwrite. So do convolutions in oneDNN: they share memory
        # with what they read, and Paddle's in-place pass does not know. Ranges were wrong by a tenth from the second
        # image on.
        strategy.enable_inplace = False
        self._program = paddle.static.CompiledProgram(program, build_strategy=strategy)
        self._executor = paddle.static.Executor(current_place())
        self._threads = threads
        self._left = _MAKING

    def run(self, feeds: Mapping[str, Array], fetches: Sequence[Any]) -> list[Array]:
        """The values of ``fetches`` (variables or their names)."""
        # The first run makes the executor, which keeps to the flag, and its worker, which takes over this thread's
        # number of threads; a run of Paddle Inference leaves it at one.
        before = paddle.get_flags(_SERIAL)
        self._left -= 1
        with alone_in_onednn() if self._left >= 0 else nullcontext():
            paddle.set_flags({_SERIAL: True})
            core.set_num_threads(self._threads)
            try:
                values = self._executor.run(self._program, feed=dict(feeds), fetch_list=list(fetches))
            finally:
                paddle.set_flags(before)
        return [np.asarray(value) for value in values]


def _mark_for_onednn(program: Any, types: Sequence[str]) -> None:
    for op in program.global_block().ops:
        if op.type in types:
            op._set_attr("use_mkldnn", True)
        if op.type in _CONVOLUTIONS:
            op._set_attr("is_test", False)  # else the weights of the first run are kept, and training changes them
