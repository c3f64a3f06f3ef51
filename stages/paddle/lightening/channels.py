"""Fewer channels: a detector's program without the channels that matter least (structured pruning)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle

from stages.errors import ConfigError, StageError
from stages.paddle.lightening import importance, selection
from stages.paddle.lightening.channel_groups import CONVOLUTIONS, Channels, Convolution, find_channels
from stages.paddle.lightening.refit import refit
from stages.paddle.lightening.selection import Cost, Kept, Rule
from stages.paddle.lightening.statistics import find_effects, find_moments
from stages.paddle.runtime.program import Program

Array = npt.NDArray[Any]
Batches = Callable[[], Iterable[Mapping[str, Array]]]
"""Feeds of a few unlabeled images, from the beginning at each call."""

MAGNITUDE, ACTIVATION, EFFECT = "magnitude", "activation", "effect"
CRITERIA = (MAGNITUDE, ACTIVATION, EFFECT)
UNIFORM, RANKED = "uniform", "ranked"
SCOPES = (UNIFORM, RANKED)


@dataclass(frozen=True)
class Pruning:
    """What is asked for."""

    fraction: float = 0.0
    """Of the channels of every group; ``ranked`` goes down to what that would cost."""
    criterion: str = EFFECT
    """By which channels are chosen: one of ``CRITERIA`` (see ``importance``)."""
    spread: str = RANKED
    """``uniform``: the same share of every group; ``ranked``: one ranking over all groups by what a block saves."""
    rule: Rule = field(default_factory=Rule)
    limit: float | None = None
    """What all convolutions together may cost, for ``ranked``; ``None``: what ``fraction`` would cost them."""
    refit: bool = True
    """Whether what remains takes over from what goes (see ``refit``)."""


@dataclass(frozen=True)
class GroupReport:
    """Of one group, before and after; its multiply-adds are those of computing these channels, for one image."""

    layers: tuple[str, ...]
    channels: tuple[int, int]
    macs: tuple[int, int]


@dataclass(frozen=True)
class Pruned:
    """The smaller program; its parameters have taken the place of the whole one's in the scope."""

    program: Program
    groups: tuple[GroupReport, ...]
    macs: tuple[int, int]
    """Multiply-adds of all convolutions for one image, before and after."""
    channels: Channels
    """Those of the whole program."""
    kept: Kept

    def kept_of(self, output: str) -> Array | None:
        """Which channels are left of what a convolution writes; ``None`` of other variables."""
        found = (one for one in self.channels.convolutions if one.output == output)
        return next((np.flatnonzero(self.kept[one.writes]) for one in found), None)


def prune_channels(
    program: Program,
    scope: Any,
    asked: Pruning,
    batches: Batches | None = None,
    *,
    threads: int = 1,
    cost: Cost = selection.work,
) -> Pruned:
    """Remove channels of ``program`` (batch normalization folded or not) and of its parameters in ``scope``.

    Args:
        batches: needed by all but ``magnitude`` without ``refit``. Some tens of images do.
        cost: what ``ranked`` saves; work (`selection.work`), or milliseconds that were measured.

    Raises:
        ConfigError: the fraction or a choice is none, or nothing can be removed.
        StageError: images are needed and there are none; batch normalization is to be folded for ``effect``.
    """
    _check(asked)
    channels = find_channels(program)
    kept = choose(program, scope, channels, asked, batches, threads=threads, cost=cost)
    if asked.fraction > 0.0 and kept.all():
        raise ConfigError([_nothing(channels, asked)])
    if asked.limit is not None and (least := selection.total(channels, kept, cost)) > asked.limit:
        raise ConfigError(
            [
                f"fewer channels: the convolutions cost {least:.4g} at the least, more than {asked.limit:.4g}; "
                "raise the limit, or take a smaller model"
            ]
        )
    changed: dict[str, Array] = {}
    if asked.refit and not kept.all():
        moments = find_moments(program, channels.sources(), _given(batches)(), threads)
        changed = refit(channels, kept, _values(scope, channels), moments)
    return remove(program, scope, channels, kept, changed)


def choose(
    program: Program,
    scope: Any,
    channels: Channels,
    asked: Pruning,
    batches: Batches | None = None,
    *,
    threads: int = 1,
    cost: Cost = selection.work,
) -> Kept:
    """Which channels stay."""
    if asked.fraction == 0.0 and asked.limit is None:
        return np.ones(channels.count, bool)
    scores = _scores(program, scope, channels, asked.criterion, batches, threads)
    limit = asked.limit
    if limit is None:
        same = selection.uniform(channels, scores, asked.fraction, asked.rule)
        if asked.spread == UNIFORM:
            return same
        limit = selection.total(channels, same, cost)
    return selection.ranked(channels, scores, limit, asked.rule, cost)


def remove(
    program: Program, scope: Any, channels: Channels, kept: Kept, changed: Mapping[str, Array] | None = None
) -> Pruned:
    """The program with only the ``kept`` channels; ``changed`` are parameters with new values, in their old shapes."""
    macs = _macs(channels, kept)
    if kept.all() and not changed:
        return Pruned(program, tuple(_reports(channels, kept)), macs, channels, kept)
    small = Program(program.desc.clone(for_test=False), list(program.feeds), list(program.fetches))
    for name in {*channels.parameters, *(changed or {})}:
        before = np.array(scope.find_var(name).get_tensor())
        value = (changed or {}).get(name, before)
        for axis, numbers in channels.parameters[name].items():
            value = np.compress(kept[numbers], value, axis)
        if value.shape != before.shape or name in (changed or {}):
            scope.find_var(name).get_tensor().set(np.ascontiguousarray(value), paddle.CPUPlace())
            small.block.var(name).desc.set_shape(list(value.shape))
    for op in small.ops():
        _adjust(small, op, channels)
    small.set_shapes({})
    return Pruned(small, tuple(_reports(channels, kept)), macs, channels, kept)


def _adjust(small: Program, op: Any, channels: Channels) -> None:
    """Attributes that state a number of channels."""
    if op.type == "reshape2" and op.input("X")[0] in channels.parameters:
        op._set_attr("shape", [1, small.shape(op.input("X")[0])[0], 1, 1])
    elif op.type in CONVOLUTIONS and int(op.attr("groups")) > 1 and op.input("Filter")[0] in channels.parameters:
        op._set_attr("groups", small.shape(op.input("Filter")[0])[0])


def _scores(
    program: Program, scope: Any, channels: Channels, criterion: str, batches: Batches | None, threads: int
) -> importance.Scores:
    weights = _values(scope, channels)
    if criterion == MAGNITUDE:
        return importance.by_magnitude(channels, weights)
    if criterion == ACTIVATION:
        moments = find_moments(program, channels.sources(), _given(batches)(), threads)
        return importance.by_activation(channels, weights, moments)
    outputs = sorted({one.output for one in channels.convolutions if importance.gated(one)})
    return importance.by_effect(channels, find_effects(program, outputs, _given(batches)(), threads))


def _values(scope: Any, channels: Channels) -> dict[str, Array]:
    names = {name for one in channels.convolutions for name in (one.weight, one.bias) if name}
    return {name: np.array(scope.find_var(name).get_tensor()) for name in names}


def _reports(channels: Channels, kept: Kept) -> list[GroupReport]:
    reports = []
    for group in channels.groups:
        own = np.zeros(channels.count, bool)
        own[group.channels] = True
        before = after = 0
        for one in channels.convolutions:
            mine = own[one.writes]
            if mine.any():
                before += one.macs(written=int(mine.sum()))
                after += one.macs(int(kept[one.reads].sum()), int((mine & kept[one.writes]).sum()))
        left = int(kept[group.channels].sum())
        reports.append(GroupReport(group.layers, (len(group.channels), left), (before, after)))
    return reports


def _macs(channels: Channels, kept: Kept) -> tuple[int, int]:
    whole = np.ones(channels.count, bool)
    before, after = (selection.total(channels, which, Convolution.macs) for which in (whole, kept))
    return int(before), int(after)


def _given(batches: Batches | None) -> Batches:
    if batches is None:
        raise StageError("fewer channels: images are needed to see which channels matter; give some unlabeled ones.")
    return batches


def _check(asked: Pruning) -> None:
    problems = []
    if not 0.0 <= asked.fraction < 1.0:
        problems.append(f"compression.prune={asked.fraction:g}: give a fraction of the channels, from 0 to below 1")
    if asked.limit is not None and (asked.spread != RANKED or asked.fraction):
        problems.append(f"fewer channels: a limit of the cost goes with {RANKED} alone, and without a fraction")
    for value, choices in ((asked.criterion, CRITERIA), (asked.spread, SCOPES)):
        if value not in choices:
            problems.append(f"fewer channels: {value} is unknown; choose one of {', '.join(choices)}")
    if problems:
        raise ConfigError(problems)


def _nothing(channels: Channels, asked: Pruning) -> str:
    if not channels.groups:
        return (
            "compression.prune: no channel of this model can be removed: each reaches an output or an unknown operator"
        )
    widest = max(len(group.channels) for group in channels.groups)
    return (
        f"compression.prune={asked.fraction:g}: nothing can be removed: the widest layers have {widest} channels, "
        f"which go in blocks of {asked.rule.multiple} down to {asked.rule.floor}; give a larger fraction, or leave it "
        "out"
    )
