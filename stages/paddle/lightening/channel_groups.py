"""Which channels of a program belong together, so that one goes only where all of them go.

Every channel of every activation gets a number. What computes a channel from one other channel (batch normalization,
activation, pooling, resizing, a depthwise convolution) hands the number on; what computes it from two (addition, a
multiplication by channel attention) makes their numbers one; a concatenation lines numbers up, so that offsets need no
bookkeeping. Only a convolution makes new numbers. An operator that is not known here (the head's reshapes, what decodes
boxes) holds its channels: they are never removed, and so is what the network reads and writes.

A group are the numbers that the same convolutions write: they are chosen among by one ranking.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.paddle.runtime.program import Program

Numbers = npt.NDArray[np.int64]
"""Channel -> its number."""

CHANNEL_BY_CHANNEL = (
    "relu",
    "relu6",
    "leaky_relu",
    "swish",
    "silu",
    "hard_swish",
    "sigmoid",
    "hard_sigmoid",
    "mish",
    "pool2d",
    "nearest_interp_v2",
    "bilinear_interp_v2",
)
"""Operators that compute a channel (axis 1) from the same channel of ``X`` and nothing else."""
_BY_ELEMENT = ("elementwise_add", "elementwise_sub", "elementwise_mul")
_STATISTICS = ("Scale", "Bias", "Mean", "Variance")
CONVOLUTIONS = ("conv2d", "depthwise_conv2d")
_RANK = 4  # of an activation: [batch, channels, height, width]


@dataclass(frozen=True)
class Convolution:
    """A convolution with the numbers of its channels."""

    weight: str
    """Name of the weights [out, in, height, width]."""
    source: str
    """The activation that it reads."""
    output: str
    """What it writes, with its bias or batch normalization."""
    bias: str
    """The parameter [out] that is added to it, or taken off where ``bias_sign`` is -1 (the mean of a batch
    normalization); "" without one."""
    bias_sign: float
    reads: Numbers
    writes: Numbers
    taps: int
    """Height x width of the kernel."""
    positions: int
    """Height x width of the output."""
    depthwise: bool

    def macs(self, read: int | None = None, written: int | None = None) -> int:
        """Multiply-adds for one image, with so many channels (``None``: all of them)."""
        read = len(self.reads) if read is None else read
        written = len(self.writes) if written is None else written
        return (written if self.depthwise else read * written) * self.taps * self.positions


@dataclass(frozen=True)
class Group:
    """Channels that the same convolutions write."""

    layers: tuple[str, ...]
    """Names of the weights of these convolutions."""
    channels: Numbers


@dataclass(frozen=True)
class Channels:
    """The channels of a program."""

    count: int
    """Numbers are below it."""
    convolutions: tuple[Convolution, ...]
    groups: tuple[Group, ...]
    """Of channels that may be removed."""
    parameters: dict[str, dict[int, Numbers]]
    """Parameter -> axis -> numbers, of all that depend on channels."""

    def sources(self) -> list[str]:
        """Activations that convolutions read and that can lose channels."""
        removable = np.zeros(self.count, bool)
        for group in self.groups:
            removable[group.channels] = True
        return sorted({one.source for one in self.convolutions if not one.depthwise and removable[one.reads].any()})


def find_channels(program: Program) -> Channels:
    """The channels of an inference program in the layout NCHW, batch normalization folded or not."""
    walk = _Walk(program)
    for op in program.ops():
        walk.visit(op)
    for name in program.fetches:
        walk.hold(name)
    return walk.result()


class _Walk:
    """The operators from first to last."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._parent: list[int] = []
        self._held: list[str] = []
        self._numbers: dict[str, Numbers] = {}
        self._parameters: dict[str, dict[int, Numbers]] = defaultdict(dict)
        self._convolutions: list[Convolution] = []
        self._biases: dict[str, tuple[str, str, float]] = {}  # what a convolution writes -> output, bias, sign
        self._reshaped: dict[str, str] = {}  # result -> parameter

    def visit(self, op: Any) -> None:
        if op.type in CONVOLUTIONS and self._convolve(op):
            return
        if op.type == "batch_norm" and op.attr("data_layout") in ("NCHW", "AnyLayout"):
            self._normalize(op)
        elif (op.type in CHANNEL_BY_CHANNEL or self._is_plain(op)) and self._rank(op.input("X")[0]) == _RANK:
            self._numbers[op.output("Out")[0]] = self._of(op.input("X")[0])
        elif op.type in _BY_ELEMENT and self._combine(op):
            pass
        elif op.type == "concat" and self._rank(op.input("X")[0]) == _RANK and self._axis(op) == 1:
            self._numbers[op.output("Out")[0]] = np.concatenate([self._of(name) for name in op.input("X")])
        elif op.type == "reshape2" and self._is_bias(op):
            name = op.input("X")[0]
            self._numbers[op.output("Out")[0]] = self._parameter(name, 0, self._program.shape(name)[0])
            self._reshaped[op.output("Out")[0]] = name
        else:
            for name in op.input_arg_names:
                self.hold(name)

    def hold(self, name: str) -> None:
        """Never remove channels of this tensor."""
        self._held.append(name)

    def result(self) -> Channels:
        final = np.array([self._root(i) for i in range(len(self._parent))], np.int64)
        held: set[int] = set()
        for name in self._held:
            for numbers in (self._numbers.get(name), *self._parameters.get(name, {}).values()):
                if numbers is not None:
                    held.update(final[numbers].tolist())
        convolutions = tuple(self._with_bias(one, final) for one in self._convolutions)
        writers: dict[int, dict[str, None]] = defaultdict(dict)
        for one in convolutions:
            for number in [] if one.depthwise else one.writes.tolist():
                writers[number][one.weight] = None
        members: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for number, layers in writers.items():
            if number not in held:
                members[tuple(layers)].append(number)
        groups = tuple(Group(layers, np.array(numbers, np.int64)) for layers, numbers in members.items())
        parameters = {n: {axis: final[v] for axis, v in axes.items()} for n, axes in self._parameters.items()}
        return Channels(len(final), convolutions, groups, parameters)

    def _with_bias(self, one: Convolution, final: Numbers) -> Convolution:
        readers = sum(one.output in op.input_arg_names for op in self._program.ops())
        output, bias, sign = one.output, one.bias, one.bias_sign
        if readers == 1 and not bias:
            output, bias, sign = self._biases.get(one.output, (output, "", sign))
        reads, writes = final[one.reads], final[one.writes]
        return replace(one, output=output, bias=bias, bias_sign=sign, reads=reads, writes=writes)

    def _convolve(self, op: Any) -> bool:
        """Whether this is a convolution whose channels can be told apart."""
        weight, source, output = op.input("Filter")[0], op.input("Input")[0], op.output("Output")[0]
        if op.attr("data_format") not in ("NCHW", "AnyLayout") or not self._is_parameter(weight):
            return False
        shape, groups, reads = self._program.shape(weight), int(op.attr("groups")), self._of(source)
        depthwise = groups == shape[0] == len(reads) > 1
        if groups != 1 and not depthwise:
            return False
        writes = self._parameter(weight, 0, shape[0])
        self._join(writes if depthwise else self._parameter(weight, 1, shape[1]), reads)
        bias = op.input("Bias")[0] if "Bias" in op.input_names and op.input("Bias") else ""
        if bias:
            self._join(self._parameter(bias, 0, shape[0]), writes)
        self._numbers[output] = writes
        positions = int(np.prod(self._program.shape(output)[2:]))
        taps = shape[2] * shape[3]
        self._convolutions.append(
            Convolution(weight, source, output, bias, 1.0, reads, writes, taps, positions, depthwise)
        )
        return True

    def _normalize(self, op: Any) -> None:
        source, output = op.input("X")[0], op.output("Y")[0]
        numbers = self._of(source)
        for slot in _STATISTICS:
            self._join(self._parameter(op.input(slot)[0], 0, len(numbers)), numbers)
        self._numbers[output] = numbers
        self._biases[source] = (output, op.input("Mean")[0], -1.0)

    def _combine(self, op: Any) -> bool:
        """An addition or multiplication of two activations, or of one and a number per channel or for all."""
        first, second = op.input("X")[0], op.input("Y")[0]
        if self._rank(first) != _RANK:
            return False
        numbers, rank, axis = self._of(first), self._rank(second), int(op.attr("axis"))
        if rank == _RANK:
            other = self._of(second)
        elif rank == 1 and axis == 1 and self._is_parameter(second):
            other = self._parameter(second, 0, self._program.shape(second)[0])
        elif int(np.prod(self._program.shape(second))) == 1:
            other = numbers
        else:
            return False
        if len(other) != len(numbers):
            return False
        self._join(numbers, other)
        self._numbers[op.output("Out")[0]] = numbers
        added = self._reshaped.get(second, second)
        if op.type == "elementwise_add" and self._is_parameter(added) and self._program.shape(added) == [len(numbers)]:
            self._biases[first] = (op.output("Out")[0], added, 1.0)
        return True

    def _is_plain(self, op: Any) -> bool:
        """Whether this scales all values alike, or takes a mean over the positions of each channel."""
        if op.type == "scale":
            return not op.input("ScaleTensor")
        if op.type != "reduce_mean" or op.attr("reduce_all") or not op.attr("keep_dim"):
            return False
        return sorted(int(axis) % _RANK for axis in op.attr("dim")) == [2, 3]

    def _is_bias(self, op: Any) -> bool:
        name = op.input("X")[0]
        shape = self._program.shape(name)
        return self._is_parameter(name) and len(shape) == 1 and list(op.attr("shape")) == [1, shape[0], 1, 1]

    def _axis(self, op: Any) -> int:
        return int(op.attr("axis")) % _RANK

    def _is_parameter(self, name: str) -> bool:
        return bool(self._program.block.var(name).persistable)

    def _rank(self, name: str) -> int:
        return len(self._program.shape(name))

    def _of(self, name: str) -> Numbers:
        """The numbers of an activation; held ones, if nothing known has written it."""
        if name not in self._numbers:
            self._numbers[name] = self._new(self._program.shape(name)[1])
            self.hold(name)
        return self._numbers[name]

    def _parameter(self, name: str, axis: int, count: int) -> Numbers:
        """The numbers along an axis of a parameter, the same for all who read it."""
        axes = self._parameters[name]
        if axis not in axes:
            axes[axis] = self._new(count)
        return axes[axis]

    def _new(self, count: int) -> Numbers:
        start = len(self._parent)
        self._parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def _join(self, some: Numbers, others: Numbers) -> None:
        for one, other in zip(some.tolist(), others.tolist(), strict=True):
            a, b = self._root(one), self._root(other)
            self._parent[max(a, b)] = min(a, b)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number
