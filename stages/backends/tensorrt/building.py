"""Building TensorRT engines: network, settings, timing cache, audit. Works with ``tensorrt`` 8.6 to 11 and RTX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stages.backends.tensorrt.options import TensorRtOptions
from stages.errors import ConfigError, StageError
from stages.numerics.audit import Layer, summarise
from stages.numerics.variants import FloatFormat, Variant
from stages.outside.files import put


class Messages:
    """What TensorRT says while it works: a logger's base class differs by module, so one is made per module."""

    def __init__(self, trt: Any) -> None:
        errors: list[str] = []

        class Log(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                    errors.append(message)

        self.logger, self.errors = Log(), errors

    def first(self) -> str:
        """The first error, which is the cause of the others."""
        return self.errors[0].strip().splitlines()[0] if self.errors else "no reason given"


def build(
    trt: Any, model: bytes, variant: Variant, options: TensorRtOptions, cache: Path | None
) -> tuple[bytes, dict[str, Any]]:
    """The serialized engine, and its audit.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        model: ONNX, with explicit Q/DQ for INT8; where the version has no flag for FP16, with FP16 types.
        cache: file of the timing cache; read if it is there, and written.

    Raises:
        StageError: the parser or the builder refuses the model.
        ConfigError: an option that this version has no means for.
    """
    messages = Messages(trt)
    builder = trt.Builder(messages.logger)
    weakly = options.fp16 or (variant.floats is FloatFormat.FP16 and has_fp16_flag(trt))
    if weakly and not has_fp16_flag(trt):
        raise ConfigError([f"backend option fp16: {trt.__name__} {trt.__version__} has no FP16 flag (its networks are "
                           "strongly typed); set fp16=false and name the variants fp16 and int8_fp16"])  # fmt: skip
    network = builder.create_network(network_flags(trt, strongly_typed=not weakly))
    parser = trt.OnnxParser(network, messages.logger)
    if not parser.parse(model):
        causes = [str(parser.get_error(i).desc()) for i in range(parser.num_errors)]
        raise StageError(
            f"{trt.__name__}'s parser refuses the model: {(causes or [messages.first()])[0]}; export it again"
        )
    config = builder.create_builder_config()
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    if options.workspace_mb is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mb << 20)
    config.builder_optimization_level = options.optimization_level
    if hasattr(trt.BuilderFlag, "TF32") and not options.tf32:
        config.clear_flag(trt.BuilderFlag.TF32)  # FP32 is FP32: TF32 keeps 10 of 23 bits
    if weakly:
        config.set_flag(trt.BuilderFlag.FP16)
    if not variant.is_float and not has_strong_types(trt, weakly) and hasattr(trt.BuilderFlag, "INT8"):
        config.set_flag(trt.BuilderFlag.INT8)
    if cache is not None:
        known = config.create_timing_cache(cache.read_bytes() if cache.is_file() else b"")
        config.set_timing_cache(known, ignore_mismatch=False)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise StageError(f"{trt.__name__} cannot build the engine: {messages.first()}; export the model again")
    if cache is not None:
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_suffix(".tmp")
        temporary.write_bytes(bytes(config.get_timing_cache().serialize()))
        put(temporary, cache)
    return bytes(serialized), audit_network(trt, network, "fp16" if weakly else "fp32")


def has_fp16_flag(trt: Any) -> bool:
    """Whether the builder can be allowed FP16 (8.6 to 10); else the network's types say it."""
    return hasattr(trt.BuilderFlag, "FP16")


def has_strong_types(trt: Any, weakly: bool) -> bool:
    return not weakly and hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED")


def network_flags(trt: Any, strongly_typed: bool) -> int:
    """Strongly typed where the version can (10 and later): the types of the file then are the types of the engine."""
    flags = trt.NetworkDefinitionCreationFlag
    wanted = 0
    if has_strong_types(trt, not strongly_typed):
        wanted |= 1 << int(flags.STRONGLY_TYPED)
    if hasattr(flags, "EXPLICIT_BATCH") and int(trt.__version__.split(".")[0]) < 10 and "rtx" not in trt.__name__:
        wanted |= 1 << int(flags.EXPLICIT_BATCH)
    return wanted


def audit_network(trt: Any, network: Any, other: str) -> dict[str, Any]:
    """The audit of the typed network: a layer both of whose operands come from Dequantize layers runs in INT8.

    That is what explicit quantization obliges TensorRT to; a built engine can be asked only where there is a GPU.
    ``read_from`` says so.
    """
    kinds = trt.LayerType
    makers: dict[str, Any] = {}
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    for layer in layers:
        for i in range(layer.num_outputs):
            makers[layer.get_output(i).name] = layer
    found = []
    for layer in layers:
        if layer.type not in (kinds.CONVOLUTION, kinds.DECONVOLUTION, kinds.MATRIX_MULTIPLY):
            continue
        operands = [layer.get_input(i) for i in range(layer.num_inputs)][:2]
        makes = [makers.get(t.name) for t in operands if t is not None]
        quantized = len(makes) == 2 and all(m is not None and m.type == kinds.DEQUANTIZE for m in makes)
        typed = "fp16" if layer.get_input(0).dtype == trt.DataType.HALF else other
        kind = str(layer.type).split(".")[-1]
        found.append(Layer(layer.name, kind, "int8" if quantized else typed, _work(trt, layer)))
    return {**summarise(found), "read_from": "network"}


def _work(trt: Any, layer: Any) -> int:
    outputs = int(np.prod(tuple(layer.get_output(0).shape)))
    operand = tuple(layer.get_input(0).shape)
    if layer.type == trt.LayerType.MATRIX_MULTIPLY:
        return outputs * int(operand[-1])
    specific = trt.IConvolutionLayer if layer.type == trt.LayerType.CONVOLUTION else trt.IDeconvolutionLayer
    layer.__class__ = specific  # the bindings' way to get at a layer's own attributes
    kernel = int(np.prod(tuple(layer.kernel_size_nd)))
    if layer.type == trt.LayerType.DECONVOLUTION:
        outputs, channels = int(np.prod(operand)), int(layer.get_output(0).shape[1])
    else:
        channels = int(operand[1])
    return outputs * channels // int(layer.num_groups) * kernel
