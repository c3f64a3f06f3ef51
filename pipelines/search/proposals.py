"""Where a search begins: configs spread over the space, before anything is known that a model could be made of."""

from __future__ import annotations

import itertools
import random
from collections.abc import Collection, Sequence

from pipelines.config.space import Axis

Params = dict[str, str | float]
"""Option -> its value."""
Key = tuple[str, ...]
"""The overrides of a config, by which it is known again."""


def key(axes: Sequence[Axis], params: Params) -> Key:
    """What tells a config from others."""
    return tuple(axis.override(params[axis.key]) for axis in axes)


def startup(axes: Sequence[Axis], trials: int) -> int:
    """How many of the trials are spread: enough that each choice comes up, a third at least and half at most."""
    levels = max((len(axis.choices) for axis in axes), default=1)
    return max(1, min(max(levels, -(-trials // 3)), trials // 2))


def spread(axes: Sequence[Axis], count: int, seed: int) -> list[Params]:
    """Configs on a Latin square: of each axis every part of it comes up as often as any other, in an order that has
    nothing to do with the other axes'. A config that would come up twice is left out.

    Source: M. D. McKay, R. J. Beckman and W. J. Conover, "A comparison of three methods for selecting values of input
    variables in the analysis of output from a computer code", Technometrics 21 (1979), 239-245.
    """
    chance = random.Random(seed)
    columns = []
    for axis in axes:
        parts = axis.size if axis.size is not None and axis.size <= count else count
        order = chance.sample(range(parts), parts)
        taken = [(order[i % parts] + chance.random()) / parts for i in range(count)]
        chance.shuffle(taken)
        columns.append([axis.at(share) for share in taken])
    found: dict[Key, Params] = {}
    for values in zip(*columns, strict=True):
        params: Params = {axis.key: value for axis, value in zip(axes, values, strict=True)}
        found.setdefault(key(axes, params), params)
    return list(found.values())


def unseen(axes: Sequence[Axis], seen: Collection[Key], seed: int) -> Params | None:
    """One of the configs that were not tried, by chance; ``None`` if all were, or nobody can count them."""
    sizes = [axis.size for axis in axes]
    total = 1
    for size in sizes:
        if size is None or (total := total * size) > 100_000:
            return None
    every = ({a.key: v for a, v in zip(axes, values, strict=True)}
             for values in itertools.product(*(list(axis.values()) for axis in axes)))  # fmt: skip
    left = [params for params in every if key(axes, params) not in seen]
    return random.Random(seed).choice(left) if left else None
