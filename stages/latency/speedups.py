"""How many times faster the engines of a backend are: than FP32, and than the fastest one in float.

The second is what INT8 has to be worth: float in 16 bits costs nothing to make where the machine has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stages.latency.timing import Series
from stages.numerics.variants import FP32, is_float

Timings = Mapping[tuple[str, str], Series]
"""(variant, mode) -> its rounds."""
Compare = Callable[[Series, Series], dict[str, Any]]
"""How many times faster the second is than the first (`stages.latency.ratio.judged`)."""


def over_fp32(series: Timings, compare: Compare) -> dict[str, dict[str, Any]]:
    """Of each other variant its speed-up by mode; empty without FP32."""
    base = str(FP32)
    found: dict[str, dict[str, Any]] = {}
    for name, mode in series:
        if name != base and (base, mode) in series:
            found.setdefault(name, {})[mode] = compare(series[base, mode], series[name, mode])
    return found


def over_best_float(series: Timings, compare: Compare) -> dict[str, dict[str, Any]]:
    """Of each other variant its speed-up over the fastest float one, by mode, and which that is (``against``).

    The fastest is the one with the smallest median in that mode. Chosen by the very samples that are compared, it looks
    a little faster than it is, which is to the disadvantage of the others.
    """
    found: dict[str, dict[str, Any]] = {}
    for mode in dict.fromkeys(mode for _, mode in series):
        medians = {name: float(np.median(own.all())) for (name, of), own in series.items() if of == mode}
        floats = [name for name in medians if is_float(name)]
        if not floats:
            continue
        best = min(floats, key=medians.__getitem__)
        for name in medians:
            if name != best:
                ratio = compare(series[best, mode], series[name, mode])
                found.setdefault(name, {})[mode] = {"against": best, **ratio}
    return found
