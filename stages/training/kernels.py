"""Whose convolutions a training runs on: oneDNN's or Paddle's own, and why (docs/decisions/0016-training-on-a-cpu.md).

What the user did not expect is said, the rest is in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stages.contract import StageContext
from stages.errors import InputError
from stages.options.finetune import ONEDNN, PADDLE, FinetuneOptions
from stages.processes import cores

if TYPE_CHECKING:
    from stages.paddle.models.training import Arithmetic

NAMES = {ONEDNN: "oneDNN", PADDLE: "Paddle's own kernels"}
GIB = 1 << 30
_SLOWER = "convolutions run in Paddle's own kernels, which take 1.4 times as long"


def arithmetic(layer: Any, options: FinetuneOptions, context: StageContext) -> Arithmetic:
    """How steps of ``layer``, which is going to be trained, are computed here.

    Raises:
        InputError: ``finetune.kernels=onednn``, and oneDNN cannot, or has no room.
    """
    from stages.paddle.models.training import FullPrecision, MixedPrecision
    from stages.paddle.runtime.place import on_gpu

    if on_gpu():
        if options.kernels == ONEDNN:
            raise _refused("this training runs on a GPU", "take run.device=cpu, or leave the option out")
        return MixedPrecision() if options.amp else FullPrecision()
    if options.amp:
        context.warn("finetune.amp=true does nothing here: this training runs on the CPU, in FP32")
    if options.kernels == PADDLE:
        context.detail("convolutions run in Paddle's own kernels: finetune.kernels=paddle")
        return FullPrecision()
    return _in_onednn(layer, options, context) or FullPrecision()


def _in_onednn(layer: Any, options: FinetuneOptions, context: StageContext) -> Arithmetic | None:
    """``None`` where oneDNN cannot, or has no room, and does not have to: the user is told."""
    from stages.paddle.models.onednn_training import OneDnnConvolutions, why_not

    reason = why_not(layer)
    if not reason:
        try:
            found = OneDnnConvolutions(layer, (options.batch, 3, *options.model.input_size), context.threads)
        except Exception as error:  # whatever a module of the user's choice has that programs cannot hold
            reason = f"no program can be made of this architecture ({type(error).__name__}: {_first_line(error)})"
    if reason:
        if options.kernels == ONEDNN:
            raise _refused(reason, "take finetune.kernels=auto or paddle")
        context.info(f"{_SLOWER}: {reason}")
        return None
    if shortage := no_room(found.memory, cores.available_memory()):
        less = f"a finetune.batch below {options.batch}" if options.batch > 1 else "a smaller model.input_size"
        if options.kernels == ONEDNN:
            raise _refused(shortage, f"{less} needs less, or take finetune.kernels=auto or paddle")
        context.warn(f"{_SLOWER}: {shortage}; {less} needs less")
        return None
    context.detail("convolutions run in oneDNN, forwards and backwards")
    return found


def no_room(needed: int, available: int | None) -> str:
    """That ``needed`` bytes, which are an estimate, are not ``available``; empty if they are, or nobody knows."""
    if available is None or needed <= available:
        return ""
    return f"oneDNN's would take about {needed / GIB:.2g} GiB of memory, and {available / GIB:.2g} GiB are available"


def changed(before: str, now: str) -> str:
    """What to say of a training that was begun in the kernels ``before`` and continues in those of ``now``."""
    if before == now:
        return ""
    return (
        f"the interrupted training ran in {NAMES.get(before, before)} and continues in {NAMES[now]}: with the same "
        "state, but its results agree with those of either within rounding only"
    )


def _refused(reason: str, instead: str) -> InputError:
    return InputError(f"finetune.kernels={ONEDNN}: {reason}; {instead}")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
