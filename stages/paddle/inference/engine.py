"""Engines of Paddle Inference: building, opening, and reading what it made of the program."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle.inference as inference
from paddle.framework import core

from stages.errors import InputError, StageError
from stages.numerics.audit import Layer, summarise
from stages.numerics.variants import FloatFormat, Variant
from stages.options.accuracy import NmsOptions
from stages.paddle.inference.lowering import lower
from stages.paddle.runtime.program import Program, fresh_scope, load_program
from stages.programs.nms_ending import with_nms

Array = npt.NDArray[Any]
PROGRAM, PARAMS = "model.pdmodel", "model.pdiparams"
OPTIMIZED = "_optimized.pdmodel"
"""What Paddle calls the program after its passes."""
ONEDNN_OPS = (
    "conv2d", "depthwise_conv2d", "conv2d_transpose", "fused_conv2d", "pool2d", "concat", "elementwise_add",
    "elementwise_mul", "elementwise_sub", "elementwise_div", "nearest_interp_v2", "bilinear_interp_v2", "reshape2",
    "transpose2", "squeeze2", "unsqueeze2", "matmul_v2", "swish", "sigmoid", "hard_sigmoid", "relu", "scale", "split",
    "slice", "batch_norm",
)  # fmt: skip
"""What oneDNN computes. Not Softmax and ReduceMean: over channels it has reference kernels only, which took three
quarters of an INT8 run."""
BF16_OPS = ("conv2d", "depthwise_conv2d", "conv2d_transpose", "fused_conv2d", "pool2d", "concat", "elementwise_add",
            "elementwise_mul", "nearest_interp_v2")  # fmt: skip
"""What computes in BF16. Not the tail: boxes of 8 bits would be off by pixels, and Paddle's passes break its shapes."""
WEIGHTED = {  # operator: where its weights and its result stand
    "conv2d": ("Filter", "Output"),
    "depthwise_conv2d": ("Filter", "Output"),
    "fused_conv2d": ("Filter", "Output"),
    "conv2d_transpose": ("Filter", "Output"),
    "matmul_v2": ("Y", "Out"),
    "fused_matmul": ("Y", "Out"),
    "fc": ("W", "Out"),
    "mul": ("Y", "Out"),
}


def build(
    program: Path,
    params: Path,
    variant: Variant,
    batch: int,
    out: Path,
    *,
    passes: Sequence[str],
    device: str,
    threads: int,
    nms: NmsOptions | None = None,
) -> dict[str, Any]:
    """Write the program after the named passes to ``out``; returns the notes (``passes``, ``audit``).

    Args:
        device: ``cpu`` or ``cuda``, as for `plain_engine`.
        threads: of the CPU.
        nms: thresholds, if the program is to end with NMS.

    Raises:
        StageError: Paddle cannot read the model, or cannot run it as asked.
    """
    reports, work, feeds = lowered(program, params, passes, batch, out)
    if nms is not None:
        (out / PROGRAM).write_bytes(with_nms((out / PROGRAM).read_bytes(), nms))
    with tempfile.TemporaryDirectory() as scratch:
        config = plain_engine(
            out / PROGRAM, out / PARAMS, variant, device=device, threads=threads, inspect=Path(scratch)
        )
        Session(config).infer(feeds)
        audit = audit_program(Path(scratch) / OPTIMIZED, work, _of_onednn)
    return {"passes": reports, "audit": audit}


def lowered(
    program: Path, params: Path, names: Sequence[str], batch: int, out: Path
) -> tuple[list[Any], dict[str, list[int]], dict[str, Array]]:
    """Write the program after the named passes to ``out``.

    Returns:
        The passes' reports, the multiply-adds by name of weights (see `_work`), and feeds of ones.
    """
    with fresh_scope():
        try:
            loaded = load_program(program, params)
        except InputError as error:
            raise StageError(f"Paddle Inference cannot load the exported model: {error}") from error
        image = next(name for name in loaded.feeds if len(loaded.shape(name)) == 4)
        if any(d < 1 for d in loaded.shape(image)) or loaded.shape(image)[0] != batch:
            raise StageError(f"input {image!r} has the shape {loaded.shape(image)}, not one fixed for batch {batch}; "
                             "export the model again")  # fmt: skip
        passes = lower(loaded, names)
        work = _work(loaded)
        feeds = {name: np.ones(loaded.shape(name), np.float32) for name in loaded.feeds}
        loaded.save(out / "model")  # last: Paddle frees operators of the program as it saves it
    return passes, work, feeds


def plain_engine(
    program: Path, params: Path, variant: Variant, *, device: str, threads: int, inspect: Path | None = None
) -> Any:
    """Paddle's config of an engine without TensorRT: oneDNN on the ``cpu``, or ``cuda``.

    ``inspect`` is a folder for the optimized program.
    """
    config = plain_config(program, params, inspect)
    if device == "cuda":
        config.enable_use_gpu(256, 0)
        return config
    config.disable_gpu()
    config.set_cpu_math_library_num_threads(threads)
    config.enable_mkldnn()
    config.set_mkldnn_cache_capacity(1)  # one input shape only
    config.set_mkldnn_op(set(ONEDNN_OPS))
    if not variant.is_float:
        config.enable_mkldnn_int8()
    elif variant.floats is FloatFormat.BF16:
        config.enable_mkldnn_bfloat16()
        config.set_bfloat16_op(set(BF16_OPS))
    return config


def plain_config(program: Path, params: Path, inspect: Path | None = None) -> Any:
    """Paddle's config of a program before any device is chosen."""
    config = inference.Config(str(program), str(params))
    config.disable_glog_info()
    config.enable_memory_optim()
    if inspect is not None:
        config.enable_save_optim_model(True)
        config.set_optim_cache_dir(str(inspect))
    return config


class Session:
    """An opened engine."""

    def __init__(self, config: Any) -> None:
        try:
            self._predictor = inference.create_predictor(config)
        except (RuntimeError, ValueError, SystemError, OSError) as error:
            name = Path(config.prog_file()).name
            raise StageError(f"Paddle Inference cannot open {name}: {_reason(error)}; build it again") from error
        self._inputs = {n: self._predictor.get_input_handle(n) for n in self._predictor.get_input_names()}
        # In the order of the file, which is boxes, scores.
        self._outputs = [self._predictor.get_output_handle(n) for n in self._predictor.get_output_names()]

    def infer(self, feeds: Mapping[str, Array]) -> list[Array]:
        for name, handle in self._inputs.items():
            handle.copy_from_cpu(feeds[name])
        try:
            self._predictor.run()
        except (RuntimeError, ValueError, SystemError) as error:
            raise StageError(f"Paddle Inference cannot run the engine: {_reason(error)}; build it again") from error
        return [handle.copy_to_cpu() for handle in self._outputs]


class NmsSession(Session):
    """An opened engine that ends with NMS: its outputs are those that `stages/lowering/inside.py` describes."""

    def __init__(self, config: Any, nms: NmsOptions) -> None:
        super().__init__(config)
        self._most = nms.keep_top_k

    def infer(self, feeds: Mapping[str, Array]) -> list[Array]:
        found, counts = super().infer(feeds)
        boxes = np.zeros((len(counts), self._most, 4), np.float32)
        scores = np.zeros((len(counts), self._most), np.float32)
        labels = np.full((len(counts), self._most), -1, np.int32)
        first = 0
        for image, count in enumerate(counts):
            rows = found[first : first + count]
            rows = rows[np.argsort(-rows[:, 1], kind="stable")]  # Paddle gives them class by class
            labels[image, :count], scores[image, :count], boxes[image, :count] = rows[:, 0], rows[:, 1], rows[:, 2:]
            first += count
        return [counts.astype(np.int32)[:, None], boxes, scores, labels]


def _work(program: Program) -> dict[str, list[int]]:
    """Name of weights -> multiply-adds of each operator that uses them, in order."""
    found: dict[str, list[int]] = defaultdict(list)
    for op in program.ops():
        if op.type not in WEIGHTED:
            continue
        slot, result = WEIGHTED[op.type]
        name = op.input(slot)[0]
        source = program.producer(name)
        if source is not None and source.type == "dequantize_linear":
            name = source.input("X")[0]
        weight, outputs = program.shape(name), int(np.prod(program.shape(op.output(result)[0])))
        if op.type == "conv2d_transpose":
            outputs = int(np.prod(program.shape(op.input("Input")[0])))
        each = int(np.prod(weight[1:])) if "conv" in op.type else weight[-2]
        found[name].append(outputs * each)
    return found


def _of_onednn(block: int, op: Any) -> str:
    """The number format of an operator's kernel, which oneDNN's passes note at each."""
    kernel = op.attr("mkldnn_data_type") if op.has_attr("mkldnn_data_type") else ""
    return {"int8": "int8", "bfloat16": "bf16"}.get(kernel, "fp32")


def audit_program(
    optimized: Path, work: Mapping[str, list[int]], number_format: Callable[[int, Any], str]
) -> dict[str, Any]:
    """The audit of the program as Paddle Inference runs it, its subgraphs too.

    That program has lost the shapes of quantized tensors, so the multiply-adds come from the one before.

    Args:
        work: see `_work`.
        number_format: of an operator, given the number of its block (0: not in a subgraph).

    Raises:
        StageError: an operator with weights that were not there before.
    """
    program = core.ProgramDesc(optimized.read_bytes())  # has to outlive its blocks
    left = {name: list(counts) for name, counts in work.items()}
    layers = []
    for number in range(program.num_blocks()):
        block = program.block(number)
        for op in (block.op(i) for i in range(block.op_size())):
            if op.type() not in WEIGHTED:
                continue
            name = op.input(WEIGHTED[op.type()][0])[0]
            if not left.get(name):
                raise StageError(f"the audit cannot tell what {op.type()} with the weights {name!r} was before "
                                 "Paddle's passes; report this")  # fmt: skip
            layers.append(Layer(name, op.type(), number_format(number, op), left[name].pop(0)))
    return summarise(layers)


def _reason(error: Exception) -> str:
    """Paddle's errors are pages long; the line that says what is wrong, or the kind of error."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return next((line for line in lines if "Error" in line or line.startswith("(")), type(error).__name__)
