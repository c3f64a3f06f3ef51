"""Which channels stay: the same share of every group, or a ranking over all groups by what a channel costs.

Channels go in blocks of 16, since integer kernels compute so many at a time: a channel more than a multiple costs as
much as the next multiple. What is counted is what kernels compute, not what a graph says (`work`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.errors import ConfigError
from stages.paddle.lightening.channel_groups import Channels, Convolution, Group
from stages.paddle.lightening.importance import Scores

Kept = npt.NDArray[np.bool_]
"""Number of a channel -> whether it stays."""
Cost = Callable[[Convolution, int, int], float]
"""What a convolution costs when it reads and writes so many channels."""


WRITTEN, READ = 16, 4
"""Channels that an integer kernel computes together, and reads together: a vector of 512 bits holds 16 sums, to each of
which an instruction adds four products."""
VALUE = 50
"""Multiply-adds that take as long as the activation of a value. SiLU takes 0.46 ns a value on ONNX Runtime, in which a
core does about 100; OpenVINO computes it within the convolution."""


@dataclass(frozen=True)
class Rule:
    """How many channels a group may keep."""

    multiple: int = WRITTEN
    """A group that loses channels keeps a multiple of this."""
    floor: int = WRITTEN
    """And no fewer than this, nor than ``least``."""
    least: float = 0.25
    """The smallest share of its channels that a group keeps in a ranking over all groups."""

    def kept(self, channels: int, fraction: float) -> int:
        """Of ``channels``, when ``fraction`` are to go: the nearest multiple that is allowed."""
        if fraction <= 0.0:
            return channels
        nearest = self.multiple * round(channels * (1.0 - fraction) / self.multiple)
        return min(channels, max(nearest, self._smallest(channels)))

    def block(self, channels: int, left: int) -> int:
        """How many of ``left`` channels go next; 0: none may go any more."""
        size = left % self.multiple or self.multiple
        return size if left - size >= max(self._smallest(channels), self.least * channels) else 0

    def _smallest(self, channels: int) -> int:
        return min(channels, self.multiple * -(-max(self.floor, 1) // self.multiple))


def work(one: Convolution, read: int, written: int) -> float:
    """Multiply-adds that a kernel computes, and the activations as so many: the cost where nothing has been timed."""
    return _computed(one, read, written) + VALUE * one.positions * written


def _computed(one: Convolution, read: int, written: int) -> float:
    """Multiply-adds, with channels in whole blocks."""
    return float(one.macs(-(-read // READ) * READ, -(-written // WRITTEN) * WRITTEN))


def timed(channels: Channels, milliseconds: Mapping[str, float], *, value_ns: float = 0.5) -> Cost:
    """Milliseconds on an engine, from those that its convolutions took.

    A convolution takes time in proportion to its multiply-adds, with channels in whole blocks, since that is what
    integer kernels compute; and every value that it writes goes through an activation.

    Args:
        milliseconds: name of the weights -> time of the convolution in the engine of the whole model. One that is not
            there (an engine merges layers) counts at the mean rate of the others.
        value_ns: nanoseconds of the activation for one value.

    Raises:
        ConfigError: no convolution is among them.
    """
    known = [one for one in channels.convolutions if one.weight in milliseconds]
    if not known:
        raise ConfigError(["fewer channels: none of the convolutions has been timed; time an engine of this model"])
    mean = sum(milliseconds[one.weight] for one in known) / sum(one.macs() for one in known)

    def cost(one: Convolution, read: int, written: int) -> float:
        part = _computed(one, read, written) / _computed(one, len(one.reads), len(one.writes))
        values = one.positions * written * value_ns * 1e-6
        return milliseconds.get(one.weight, mean * one.macs()) * part + values

    return cost


def total(channels: Channels, kept: Kept, cost: Cost = work) -> float:
    """What all convolutions cost."""
    counts = ((one, int(kept[one.reads].sum()), int(kept[one.writes].sum())) for one in channels.convolutions)
    return sum(cost(one, read, written) for one, read, written in counts)


def uniform(channels: Channels, scores: Scores, fraction: float, rule: Rule) -> Kept:
    """Every group loses the same share of its channels, as far as ``rule`` lets it."""
    counts = {group.layers: rule.kept(len(group.channels), fraction) for group in channels.groups}
    return by_counts(channels, scores, counts)


def by_counts(channels: Channels, scores: Scores, counts: Mapping[tuple[str, ...], int]) -> Kept:
    """Each group, known by its layers, keeps so many channels: those with the highest scores."""
    kept = np.ones(channels.count, bool)
    for group in channels.groups:
        count = counts.get(group.layers, len(group.channels))
        order = np.argsort(scores[group.channels], kind="stable")
        kept[group.channels[order[: len(order) - count]]] = False
    return kept


def ranked(channels: Channels, scores: Scores, limit: float, rule: Rule, cost: Cost = work) -> Kept:
    """Blocks go, the one with the lowest score for what it saves first, until all convolutions cost ``limit`` at most.

    If the limit cannot be reached, what is left is as small as ``rule`` allows.
    """
    search = _Search(channels, scores, rule, cost)
    while search.cost > limit and search.step():
        pass
    return search.kept


class _Search:
    """The state of a ranking: what stays, and what each group's next block would save."""

    def __init__(self, channels: Channels, scores: Scores, rule: Rule, cost: Cost) -> None:
        self._channels, self._scores, self._rule, self._price = channels, scores, rule, cost
        self.kept = np.ones(channels.count, bool)
        convolutions = channels.convolutions
        self._reads = [np.bincount(one.reads, minlength=channels.count) for one in convolutions]
        self._writes = [np.bincount(one.writes, minlength=channels.count) for one in convolutions]
        self._counts = [(len(one.reads), len(one.writes)) for one in convolutions]
        self._costs = [cost(one, *counts) for one, counts in zip(convolutions, self._counts, strict=True)]
        self._ahead = [list(g.channels[np.argsort(scores[g.channels], kind="stable")]) for g in channels.groups]
        self._sizes = [len(g.channels) for g in channels.groups]
        self._concerned = [self._convolutions_of(g) for g in channels.groups]
        self._worth = [self._weigh(i) for i in range(len(channels.groups))]

    @property
    def cost(self) -> float:
        return sum(self._costs)

    def step(self) -> bool:
        """Remove the cheapest block; whether there was one."""
        best = min(range(len(self._worth)), key=self._worth.__getitem__, default=None)
        if best is None or self._worth[best] == np.inf:
            return False
        block = self._block(best)
        self.kept[block] = False
        self._ahead[best] = self._ahead[best][len(block) :]
        touched = self._concerned[best]
        for i in touched:
            self._counts[i] = self._without(i, block)
            self._costs[i] = self._price(self._channels.convolutions[i], *self._counts[i])
        for other, concerned in enumerate(self._concerned):
            if not touched.isdisjoint(concerned):
                self._worth[other] = self._weigh(other)
        return True

    def _convolutions_of(self, group: Group) -> set[int]:
        return {
            i
            for i, (reads, writes) in enumerate(zip(self._reads, self._writes, strict=True))
            if reads[group.channels].any() or writes[group.channels].any()
        }

    def _block(self, group: int) -> npt.NDArray[np.int64]:
        size = self._rule.block(self._sizes[group], len(self._ahead[group]))
        return np.array(self._ahead[group][:size], np.int64)

    def _without(self, i: int, block: npt.NDArray[np.int64]) -> tuple[int, int]:
        read, written = self._counts[i]
        return read - int(self._reads[i][block].sum()), written - int(self._writes[i][block].sum())

    def _weigh(self, group: int) -> float:
        """The score of the next block over what it saves; infinite where none may go or nothing is saved."""
        block = self._block(group)
        if not len(block):
            return np.inf
        saved = 0.0
        for i in self._concerned[group]:
            saved += self._costs[i] - self._price(self._channels.convolutions[i], *self._without(i, block))
        return float(self._scores[block].sum()) / saved if saved > 0.0 else np.inf
