"""SiLU, x * sigmoid(x), exchanged for something cheaper in an exported program.

Paddle writes it as one operator (``swish`` with a factor of 1, or ``silu``), or as a sigmoid and a product.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from stages.errors import ConfigError
from stages.options.lighten import ACTIVATIONS
from stages.paddle.runtime.program import Program

LEAK = 0.1
"""Slope of leaky ReLU below zero."""
_OPERATORS: dict[str, tuple[str, dict[str, float]]] = {
    "relu": ("relu", {}),
    "leaky_relu": ("leaky_relu", {"alpha": LEAK}),
    "hardswish": ("hard_swish", {"threshold": 6.0, "scale": 6.0, "offset": 3.0}),
}
"""Option -> Paddle's operator and its attributes. Hard swish is x * min(max(x + offset, 0), threshold) / scale
(Howard et al., "Searching for MobileNetV3", section 5.2)."""
ACTIVATION_OPERATORS = ("swish", "silu", *(operator for operator, _ in _OPERATORS.values()))
"""Types of operators that may stand behind a convolution."""


@dataclass(frozen=True)
class Silu:
    """One SiLU of a program."""

    x: str
    """The variable that it reads."""
    out: str
    """The variable that it writes."""
    operators: tuple[Any, ...]
    """What computes it; the last one writes ``out``. A sigmoid that others read too is not among them."""


def find_silus(program: Program) -> list[Silu]:
    """Every SiLU, in order."""
    return list(_silus(program))


def _silus(program: Program) -> Iterator[Silu]:
    ops = program.ops()
    readers: dict[str, int] = {}
    sigmoids: dict[str, Any] = {}
    for op in ops:
        for name in op.input_arg_names:
            readers[name] = readers.get(name, 0) + 1
        if op.type == "sigmoid":
            sigmoids[op.output("Out")[0]] = op
    for op in ops:
        if op.type == "silu" or (op.type == "swish" and (not op.has_attr("beta") or op.attr("beta") == 1.0)):
            yield Silu(op.input("X")[0], op.output("Out")[0], (op,))
        elif op.type == "elementwise_mul":
            one, other = op.input("X")[0], op.input("Y")[0]
            for x, gate in ((one, other), (other, one)):
                if gate in sigmoids and sigmoids[gate].input("X")[0] == x:
                    alone = readers[gate] == 1 and gate not in program.fetches
                    yield Silu(x, op.output("Out")[0], (sigmoids[gate], op) if alone else (op,))
                    break


def exchange(
    program: Program, activation: str, features: Collection[str], *, head: bool = False, share: float = 1.0
) -> tuple[list[str], int]:
    """Put ``activation`` in the place of SiLU, in ``program`` itself.

    Args:
        activation: one of `ACTIVATIONS`.
        features: what the head reads: outputs of the neck. What is not needed to compute them is the head's.
        head: exchange the head's too.
        share: of the values that go through them; the largest maps are exchanged until they have so many.

    Returns:
        The variables that the exchanged ones write, and how many SiLU stay.

    Raises:
        ConfigError: the model has none to exchange.
    """
    found = find_silus(program)
    below = _needed(program, features)
    chosen = [silu for silu in found if head or silu.out in below]
    if not chosen:
        where = "the model" if head else "backbone and neck"
        more = f"; the {len(found)} of the head need compression.activation_head=true" if found else ""
        raise ConfigError(
            [
                f"compression.activation={activation}: there is no SiLU in {where} that {ACTIVATIONS[activation]} "
                f"could stand for{more}. Set compression.activation=null"
            ]
        )
    chosen = _largest(program, chosen, share)
    for silu in chosen:
        _replace(program, silu, *_OPERATORS[activation])
    return [silu.out for silu in chosen], len(found) - len(chosen)


def _largest(program: Program, silus: list[Silu], share: float) -> list[Silu]:
    """Those with the largest maps that together have ``share`` of the values, in the order of the program."""

    def values(silu: Silu) -> int:
        return math.prod(program.shape(silu.out)[1:])

    left = share * sum(values(silu) for silu in silus)
    taken: list[Silu] = []
    for silu in sorted(silus, key=values, reverse=True):
        if left <= 0:
            break
        taken.append(silu)
        left -= values(silu)
    return [silu for silu in silus if silu in taken]


def _needed(program: Program, targets: Collection[str]) -> set[str]:
    """``targets`` and everything that they are computed from."""
    needed = set(targets)
    for op in reversed(program.ops()):
        if not needed.isdisjoint(op.output_arg_names):
            needed.update(op.input_arg_names)
    return needed


def _replace(program: Program, silu: Silu, operator: str, attributes: dict[str, float]) -> None:
    block = program.block
    place = _place(block, silu.operators[-1])
    block._insert_op(place, type=operator, inputs={"X": [silu.x]}, outputs={"Out": [silu.out]}, attrs={**attributes})
    for old in reversed(silu.operators):
        block._remove_op(_place(block, old))


def _place(block: Any, operator: Any) -> int:
    return next(i for i, op in enumerate(block.ops) if op is operator)
