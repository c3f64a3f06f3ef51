"""Cross-layer equalisation: channels between two convolutions are scaled so that they share a range well.

A tensor is rounded with one step for all of its channels. A factor s > 0 for a channel moves from one convolution to
the next: the first gives x / s, the second multiplies its weights for that channel by s. That changes nothing in float
where f(x / s) = f(x) / s holds between the two, so across ReLU, leaky ReLU or nothing at all. It does not hold across
SiLU, so a PP-YOLOE as it is published has no such pair; PP-YOLOE+ with ReLU has.

Source: M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction" (2019,
arXiv:1906.04721), section 4.1. There both ranges are those of weights, which have one step a tensor. Here weights have
a step for each output channel, so the first range is that of the convolution's outputs, as observed: with r1 the
largest output of a channel and r2 the largest weight that reads it, s = sqrt(r1 / r2) makes r1 / s = r2 * s.

The end of that is a channel that nobody reads (r2 = 0): it is silenced, its weights and bias become zero. This holds
for every activation with f(0) = 0, so SiLU is among them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.artifacts import ExportedModel
from stages.paddle.compression import anatomy, slim
from stages.paddle.compression.calibrate import channel_maxima
from stages.paddle.compression.mixing import FloatLayer, is_parameter
from stages.paddle.runtime.program import Program, fresh_scope, load_program

Array = npt.NDArray[Any]
Changes = dict[str, dict[str, list[float]]]
"""Name of a convolution's weights -> ``outputs``: what each of its output channels was multiplied by, with its bias;
``inputs``: what its weights for each input channel were."""

HOMOGENEOUS = ("relu", "leaky_relu")
"""Activations with f(s x) = s f(x) for s > 0."""
ZERO_AT_ZERO = ("swish", "silu", "hard_swish", "mish", "gelu", "tanh", "relu6")
"""Others with f(0) = 0."""
MOST = 1e3
"""A channel is scaled by no more than this, either way."""
_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")


@dataclass(frozen=True)
class Link:
    """A convolution of whose result other convolutions, and nobody else, read each channel."""

    weight: str
    bias: str
    """"" where it has none."""
    readers: tuple[str, ...]
    """The weights of those that read it."""
    tensor: str
    """What they read."""
    scalable: bool
    """Whether what stands between is homogeneous."""


@dataclass(frozen=True)
class Equalized:
    """What was done: the ``pairs`` that were scaled, the channels that were ``silenced``, and the factors."""

    pairs: int = 0
    silenced: int = 0
    changes: Changes = field(default_factory=dict)

    def told(self) -> str:
        """In words."""
        if not self.changes:
            return (
                "equalisation has nothing to change here: it needs two convolutions with ReLU, leaky ReLU or nothing "
                "between them (SiLU does not do), or channels that nobody reads"
            )
        return f"equalisation scaled the channels of {self.pairs} convolutions and silenced {self.silenced} unread ones"


def links(program: Program) -> list[Link]:
    """Every pair, or convolution with several readers, of a program whose batch normalization is folded."""
    ops = program.ops()
    readers: dict[str, list[Any]] = {}
    for op in ops:
        for name in set(op.input_arg_names):
            readers.setdefault(name, []).append(op)
    reshaped = {op.output("Out")[0]: op.input("X")[0] for op in ops if op.type == "reshape2"}
    uses = Counter(op.input("Filter")[0] for op in ops if op.type in _CONVOLUTIONS)
    found = []
    for op in ops:
        if op.type in _CONVOLUTIONS and uses[op.input("Filter")[0]] == 1:
            link = _follow(program, op, readers, reshaped)
            if link is not None and all(uses[name] == 1 for name in link.readers):
                found.append(link)
    return found


def _follow(program: Program, op: Any, readers: Mapping[str, list[Any]], reshaped: Mapping[str, str]) -> Link | None:
    """From a convolution on, through its bias and activations, to what reads the result."""
    name, bias, scalable = str(op.output("Output")[0]), "", True
    while name not in program.fetches:
        behind = readers.get(name, [])
        if behind and all(_reads_by_channel(program, one, name) for one in behind):
            weights = tuple(str(one.input("Filter")[0]) for one in behind)
            return Link(str(op.input("Filter")[0]), bias, weights, name, scalable)
        if len(behind) != 1:
            return None
        (after,) = behind
        if after.type == "elementwise_add" and not bias and after.input("X") == [name]:
            bias = str(reshaped.get(after.input("Y")[0], after.input("Y")[0]))
            if not is_parameter(program, bias) or np.prod(program.shape(bias)) != program.shape(name)[1]:
                return None
        elif after.type in ZERO_AT_ZERO:
            scalable = False
        elif after.type not in HOMOGENEOUS:
            return None
        name = str(after.output("Out")[0])
    return None


def _reads_by_channel(program: Program, op: Any, name: str) -> bool:
    """Whether ``op`` is a convolution that has weights of their own for each channel of ``name``."""
    if op.type not in _CONVOLUTIONS or op.input("Input") != [name] or anatomy.is_projection(program, op):
        return False
    return int(op.attr("groups")) in (1, program.shape(name)[1])


def equalize(
    program: Program, batches: Callable[[], Iterable[Mapping[str, Array]]], scope: Any, threads: int
) -> Equalized:
    """Change weights and biases in ``scope`` so that ``program`` computes the same with channels of like ranges.

    Args:
        program: a float one with an open batch, batch normalization folded.
        batches: feeds of the images that ranges are observed on; not asked for where nothing can be scaled.
    """
    found = links(program)
    tensors = [link.tensor for link in found if link.scalable]
    largest = channel_maxima(program, tensors, batches(), threads) if tensors else {}
    changes: Changes = {}
    pairs = silenced = 0
    for link in found:
        read = np.max([_read(slim.read(scope, name), link, program) for name in link.readers], axis=0)
        factors = _factors(largest[link.tensor], read) if link.scalable else np.ones(len(read))
        unread = (read == 0) & _speaks(scope, link)
        if not unread.any() and (factors == 1).all():
            continue
        pairs, silenced = pairs + bool((factors != 1).any()), silenced + int(unread.sum())
        outputs = np.where(unread, 0.0, 1 / factors)
        own = changes.setdefault(link.weight, {})
        own["outputs"] = [float(value) for value in outputs]
        for name in link.readers:
            changes.setdefault(name, {})["inputs"] = [float(value) for value in factors]
            slim.write(scope, name, scaled_inputs(slim.read(scope, name), factors))
        slim.write(scope, link.weight, scaled_outputs(slim.read(scope, link.weight), outputs))
        if link.bias:
            bias = slim.read(scope, link.bias)
            slim.write(scope, link.bias, bias * outputs.reshape(bias.shape))
    return Equalized(pairs, silenced, changes)


def can_equalize(model: ExportedModel) -> bool:
    """Whether there is anything in this FP32 model that `equalize` would change."""
    with fresh_scope() as scope:
        loaded = load_program(model.path("model.pdmodel"), model.path("model.pdiparams"))
        program = anatomy.fold_batch_norm(loaded, scope)
        for link in links(program):
            read = np.max([_read(slim.read(scope, name), link, program) for name in link.readers], axis=0)
            if link.scalable or ((read == 0) & _speaks(scope, link)).any():
                return True
    return False


def applied(
    layers: Mapping[str, FloatLayer], changes: Mapping[str, Mapping[str, list[float]]]
) -> dict[str, FloatLayer]:
    """The FP32 model's layers as they are in a model with these ``changes``."""
    found = dict(layers)
    for name, change in changes.items():
        if name not in found:
            continue
        weight, bias = found[name].weight, found[name].bias
        if "inputs" in change:
            weight = scaled_inputs(weight, np.asarray(change["inputs"]))
        if "outputs" in change:
            factors = np.asarray(change["outputs"])
            weight = scaled_outputs(weight, factors)
            bias = None if bias is None else (bias * factors.reshape(bias.shape)).astype(bias.dtype)
        found[name] = FloatLayer(weight, bias)
    return found


def scaled_outputs(weight: Array, factors: Array) -> Array:
    """Weights [out, in / groups, h, w] with each output channel multiplied by its factor."""
    return np.asarray(weight * factors.reshape(-1, 1, 1, 1), weight.dtype)


def scaled_inputs(weight: Array, factors: Array) -> Array:
    """Weights [out, in / groups, h, w] with what reads each input channel multiplied by its factor."""
    if weight.shape[1] == len(factors):
        return np.asarray(weight * factors.reshape(1, -1, 1, 1), weight.dtype)
    grouped = weight.reshape(len(factors), -1) * factors.reshape(-1, 1)  # depthwise
    return np.asarray(grouped.reshape(weight.shape), weight.dtype)


def _read(weight: Array, link: Link, program: Program) -> Array:
    """The largest weight that reads each of the link's channels, [C]."""
    channels = program.shape(link.weight)[0]
    if weight.shape[1] == channels:
        return np.asarray(np.abs(weight).max(axis=(0, 2, 3)))
    return np.asarray(np.abs(weight).reshape(channels, -1).max(axis=1))


def _factors(largest: Array, read: Array) -> Array:
    """s of each channel; 1, which is the geometric mean of all, where one of the two ranges is zero."""
    known = (largest > 0) & (read > 0)
    factors = np.ones(len(read))
    if known.any():
        raw = np.sqrt(largest[known].astype(np.float64) / read[known])
        factors[known] = np.clip(raw / np.exp(np.log(raw).mean()), 1 / MOST, MOST)
    return factors


def _speaks(scope: Any, link: Link) -> Array:
    """Which channels of the first convolution are not zero yet, [C]."""
    weight = np.abs(slim.read(scope, link.weight))
    own = weight.reshape(weight.shape[0], -1).max(axis=1) > 0
    return np.asarray(own | (slim.read(scope, link.bias).reshape(-1) != 0) if link.bias else own)
