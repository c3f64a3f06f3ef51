"""Empirical bias correction: the mean of each quantized convolution's outputs, by channel, becomes FP32's again.

Rounding weights and inputs moves the mean of what a convolution gives. The difference of the two means over some images
is a constant for each channel, so the convolution's bias can take it. Source: M. Nagel et al., "Data-Free Quantization
Through Weight Equalization and Bias Correction" (2019, arXiv:1906.04721), section 4.2, with the means taken from images
instead of batch normalization.

There layers are corrected one after another, since each sees what the corrected ones before it give. Here one run does
the same: operators behind each convolution bring the mean of the batch to FP32's before anything reads it, so that what
comes behind is measured on corrected values. The corrections of all batches are averaged.

The quantized program rounds weights and inputs of convolutions; an engine rounds their outputs too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.paddle.compression import slim
from stages.paddle.compression.mixing import biases
from stages.paddle.inference.lowering import DEQUANTIZE
from stages.paddle.runtime.execution import Runner
from stages.paddle.runtime.program import Program, extend

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]

AT_ONCE = 8
"""Images of a run: the means of few are noisy, and all images' activations at once would fill the memory."""
_CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_EXPECTED = ".expected"  # the mean that the outputs of X are brought to is fed as X.expected
_SPACE = [0, 2, 3]  # of [B, C, h, w]: everything but the channels


@dataclass(frozen=True)
class Corrected:
    """What was done: ``layers`` convolutions, and the largest correction as a share of its layer's mean magnitude."""

    layers: int
    largest: float


def correct_biases(
    program: Program, inference: Program, batches: Callable[[], Iterable[Feeds]], scope: Any, threads: int
) -> Corrected:
    """Change the biases of the quantized convolutions, which both programs read from ``scope``.

    Args:
        program: the float one, with an open batch.
        inference: the quantized one, with the ranges of activations in ``scope``.
        batches: feeds of several images each; they are gone through once.
    """
    layers = _correctable(inference)
    if not layers:
        return Corrected(0, 0.0)
    slim.set_weight_scales(inference, scope)
    expected, seen = _Means(program, list(layers), threads), _Corrections(inference, list(layers), threads)
    sums = {name: np.zeros(slim.read(scope, bias).size) for name, bias in layers.items()}
    magnitudes, images = dict.fromkeys(layers, 0.0), 0
    for feeds in batches():
        count = len(next(iter(feeds.values())))
        means = expected.run(feeds)
        for name, correction in seen.run(feeds, means).items():
            sums[name] += count * correction.reshape(-1)
            magnitudes[name] += count * float(np.abs(means[name]).mean())
        images += count
    largest = 0.0
    for name, bias in layers.items():
        correction = sums[name] / images
        old = slim.read(scope, bias)
        slim.write(scope, bias, old + correction.reshape(old.shape))
        largest = max(largest, float(np.abs(correction).max()) / max(magnitudes[name] / images, 1e-12))
    return Corrected(len(layers), largest)


def _correctable(inference: Program) -> dict[str, str]:
    """Output of each quantized convolution -> its bias, where it has one of its own."""
    makers = {name: op.type for op in inference.ops() for name in op.output_arg_names}
    added = biases(inference)
    found = {}
    for op in inference.ops():
        if op.type in _CONVOLUTIONS and makers.get(op.input("Input")[0]) == DEQUANTIZE:
            output = op.output("Output")[0]
            if output in added:
                found[output] = added[output]
    shared = [bias for bias in found.values() if list(added.values()).count(bias) > 1]
    return {output: bias for output, bias in found.items() if bias not in shared}


class _Means:
    """The mean of each channel of some tensors, [1, C, 1, 1], in the float program."""

    def __init__(self, program: Program, names: list[str], threads: int) -> None:
        pruned = program.prune(names)
        with extend(pruned.desc, "means"):
            self._means = [paddle.mean(pruned.block.var(name), axis=_SPACE, keepdim=True) for name in names]
        self._names, self._feeds = names, pruned.feeds
        self._runner = Runner(pruned.desc, threads)

    def run(self, feeds: Feeds) -> dict[str, Array]:
        values = self._runner.run({name: feeds[name] for name in self._feeds}, self._means)
        return dict(zip(self._names, values, strict=True))


class _Corrections:
    """What has to be added to each channel of some tensors, [1, C, 1, 1], for their means to be as expected: of each
    with those before it corrected."""

    def __init__(self, inference: Program, names: list[str], threads: int) -> None:
        pruned = inference.prune(names)
        block = pruned.block
        for place in reversed([i for i, op in enumerate(block.ops) if op.type == "feed"]):
            block._remove_op(place)  # they list the images only; without them everything may be fed
        self._names, self._feeds = names, pruned.feeds
        with extend(pruned.desc, "correction"):
            for name in names:
                paddle.static.data(name + _EXPECTED, [1, int(block.var(name).shape[1]), 1, 1], "float32")
        wanted = set(names)
        for place in reversed(range(len(block.ops))):  # from behind, so that the places before stay what they are
            for name in wanted & set(block.ops[place].output_arg_names):
                _correct(block, place, name)
        block._sync_with_cpp()
        self._runner = Runner(pruned.desc, threads)

    def run(self, feeds: Feeds, expected: Mapping[str, Array]) -> dict[str, Array]:
        more = {name + _EXPECTED: expected[name] for name in self._names}
        given = {name: feeds[name] for name in self._feeds}
        values = self._runner.run({**given, **more}, [f"{name}.correction" for name in self._names])
        return dict(zip(self._names, values, strict=True))


def _correct(block: Any, place: int, name: str) -> None:
    """Insert, behind the operator at ``place``, what brings the mean of its output to the one that is fed."""
    shape = list(block.var(name + _EXPECTED).shape)
    mean, correction, corrected = (f"{name}.{part}" for part in ("mean", "correction", "corrected"))
    for made in (mean, correction):
        block.create_var(name=made, shape=shape, dtype="float32")
    block.create_var(name=corrected, shape=list(block.var(name).shape), dtype="float32")
    for op in block.ops[place + 1 :]:
        if name in op.input_arg_names:
            op.desc._rename_input(name, corrected)
    added = [
        ("reduce_mean", {"X": name}, mean, {"dim": _SPACE, "keep_dim": True, "reduce_all": False}),
        ("elementwise_sub", {"X": name + _EXPECTED, "Y": mean}, correction, {"axis": -1}),
        ("elementwise_add", {"X": name, "Y": correction}, corrected, {"axis": -1}),
    ]
    for offset, (kind, inputs, output, attributes) in enumerate(added, start=1):
        block._insert_op(
            place + offset,
            type=kind,
            inputs={slot: [block.var(read)] for slot, read in inputs.items()},
            outputs={"Out": [block.var(output)]},
            attrs=attributes,
        )
