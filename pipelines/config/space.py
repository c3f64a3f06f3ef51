"""The search space of a sweep, in Hydra's own overrides: ``choice(a,b)`` or ``a,b``, ``range(...)``, ``interval(...)``.

``tag(log,...)`` around a range or an interval: numbers are drawn on a log scale. An interval of an option that takes
whole numbers is one of whole numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from pipelines.config.literal import is_whole
from stages.errors import InputError

LOG = "log"
_MOST_VALUES = 100_000
"""Of a range with steps."""


@dataclass(frozen=True)
class Axis:
    """One option of a search and the values that it may take: ``choices`` as overrides write them, or numbers.

    ``step`` is ``None`` of an interval; ``whole``: its numbers have nothing behind the point.
    """

    key: str
    choices: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    whole: bool = False

    @property
    def size(self) -> int | None:
        """How many values there are; ``None`` without end."""
        if self.choices:
            return len(self.choices)
        if self.step is not None:
            return round((self.high - self.low) / self.step) + 1
        return int(self.high - self.low) + 1 if self.whole else None

    def at(self, share: float) -> str | float:
        """The value at a share of the axis, 0 up to (not including) 1."""
        if self.choices:
            return self.choices[int(share * len(self.choices))]
        if self.size is not None and not self.log:
            value = self.low + int(share * self.size) * (self.step or 1)
        elif self.log:
            value = math.exp(math.log(self.low) + share * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + share * (self.high - self.low)
        return round(value) if self.whole else min(max(value, self.low), self.high)

    def values(self) -> Iterator[str | float]:
        """All of them, where there is an end."""
        count = self.size or 0
        return (self.choices[i] if self.choices else self.number(i) for i in range(count))

    def number(self, i: int) -> float:
        """The number at a place."""
        value = self.low + i * (self.step or 1)
        return round(value) if self.whole else float(f"{value:.12g}")

    def override(self, value: str | float) -> str:
        """The override that sets a value."""
        if isinstance(value, str):
            return f"{self.key}={value}"
        return f"{self.key}={round(value)}" if self.whole else f"{self.key}={float(f'{value:.12g}')!r}"

    def ends(self) -> list[str]:
        """The overrides of the smallest and the largest number."""
        return list(dict.fromkeys((self.override(self.low), self.override(self.high))))


def axis(override: Override) -> Axis:
    """The axis that a sweep's override stands for.

    Raises:
        InputError: it is empty, or asks for what there is not.
    """
    key, value = override.get_key_element(), override.value()
    tags = getattr(value, "tags", None) or set()
    if unknown := sorted(tags - {LOG}):
        raise InputError(f"{override.input_line}: there is no tag {unknown[0]}; the only one is {LOG}")
    log = LOG in tags
    if isinstance(value, IntervalSweep):
        return _interval(override, key, value, log)
    if isinstance(value, RangeSweep):
        return _range(override, key, value, log)
    if log:
        raise InputError(f"{override.input_line}: {LOG} is for range(...) and interval(...); leave the tag out")
    choices = tuple(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise InputError(f"{override.input_line}: there is nothing to choose from; name the values")
    return Axis(key, choices)


def _interval(override: Override, key: str, value: IntervalSweep, log: bool) -> Axis:
    low, high = value.start, value.end
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(f"{override.input_line}: an interval has a smaller end and a larger one; write both")
    if log and low <= 0:
        raise InputError(f"{override.input_line}: a log scale begins above 0; write a larger first end")
    whole = is_whole(override.key_or_group) or (isinstance(low, int) and isinstance(high, int))
    if whole and not (float(low).is_integer() and float(high).is_integer()):
        raise InputError(f"{override.input_line}: the option takes whole numbers; write whole ends")
    return Axis(key, low=low, high=high, log=log, whole=whole)


def _range(override: Override, key: str, value: RangeSweep, log: bool) -> Axis:
    # The parts by their own names: a range of floats is used up by who reads it.
    found = list(itertools.islice(value.range(), _MOST_VALUES + 1)) if value.start is not None and value.step else []
    if not found:
        raise InputError(f"{override.input_line}: the range is empty; its second number is not part of it")
    if len(found) > _MOST_VALUES:
        raise InputError(f"{override.input_line}: more than {_MOST_VALUES} values; write an interval or a larger step")
    low, high, step = min(found), max(found), abs(float(value.step))
    whole = all(isinstance(number, int) for number in found)
    if log and (low <= 0 or not whole or step != 1):
        raise InputError(f"{override.input_line}: a log scale is for steps of 1 above 0; write an interval")
    return Axis(key, low=low, high=high, step=None if log else step, log=log, whole=whole)
