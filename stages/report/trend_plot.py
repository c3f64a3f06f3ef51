"""The picture of a trend on its page, written as SVG here: drawing libraries take longer than all else of the command.

A panel per number, one above the other: its course, its noise as a bar, champions marked; hollow: measured while
disturbed. Whatever the number of runs, a panel has a handful of elements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from stages.report.style import INK, LINE, PALETTE, PAPER, with_variables

WIDTH, PANEL, GAP = 720.0, 180.0, 12.0
"""Units of the picture: its width, the height of a panel and what is between two."""
LEFT, RIGHT, TOP, FOOT = 64.0, 12.0, 8.0, 40.0
DOT = 6.0
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LINES = 4
"""Lines across a panel, about."""
COLOUR, CROWN = PALETTE[0], PALETTE[1]


class Dot(NamedTuple):
    """A number of one run: ``at`` is the run's place, from 0; the interval is ``None`` where nobody knows it."""

    at: int
    value: float
    low: float | None
    high: float | None
    valid: bool
    crowned: bool


class Panel(NamedTuple):
    """One number over the runs; ``joined``: whether a line leads from one to the next."""

    title: str
    dots: Sequence[Dot]
    joined: bool


def svg(panels: Sequence[Panel], names: Sequence[tuple[int, str]], count: int, label: str) -> str:
    """The picture as an element for a page.

    Args:
        names: places on the axis that get a name, of one line or several.
        count: runs.
        label: what it shows, for those who do not see it.
    """
    height = TOP + len(panels) * (PANEL + GAP) + FOOT
    parts = [_panel(panel, TOP + i * (PANEL + GAP), count) for i, panel in enumerate(panels)]
    below = height - FOOT + 8
    for at, name in names:
        lines = "".join(
            f'<tspan x="{_x(at, count):.1f}" dy="11">{escape(line)}</tspan>' for line in name.splitlines() or [""]
        )
        parts.append(f'<text y="{below:.1f}" text-anchor="middle" style="font-size:10px">{lines}</text>')
    head = f'<svg role="img" aria-label={quoteattr(label)} viewBox="0 0 {WIDTH:.0f} {height:.0f}" '
    return with_variables(
        f'{head}xmlns="http://www.w3.org/2000/svg" style="font-family:sans-serif;font-size:11px;fill:{INK}">'
        f"{''.join(parts)}</svg>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``, both included if they are round, about `LINES` of them."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return []
    power = 10.0 ** math.floor(math.log10(span / LINES))
    step = next(step * power for step in STEPS if span / (step * power) <= LINES)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _x(at: int, count: int) -> float:
    """Half a step is left free at both ends."""
    return LEFT + (WIDTH - LEFT - RIGHT) * (at + 0.5) / max(count, 1)


def _panel(panel: Panel, top: float, count: int) -> str:
    dots = [dot for dot in panel.dots if math.isfinite(dot.value)]
    bars = [(dot.at, dot.low, dot.high) for dot in dots
            if dot.low is not None and dot.high is not None and math.isfinite(dot.low + dot.high)]  # fmt: skip
    low, high = _range([dot.value for dot in dots] + [bound for _, *bounds in bars for bound in bounds])

    def y(value: float) -> float:
        return top + PANEL * (high - value) / (high - low)

    right, bottom = WIDTH - RIGHT, top + PANEL
    parts = [
        f'<path d="M{LEFT} {y(tick):.1f}H{right}" style="stroke:{LINE};fill:none"/>'
        f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.6g}</text>'
        for tick in ticks(low, high)
    ]
    parts.append(f'<path d="M{LEFT} {top}V{bottom}H{right}" style="stroke:{INK};fill:none"/>')
    middle = (top + bottom) / 2
    parts.append(f'<text transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
                 f"{escape(panel.title)}</text>")  # fmt: skip
    places = [(_x(dot.at, count), y(dot.value)) for dot in dots]
    if panel.joined and len(places) > 1:
        line = "L".join(f"{x:.1f} {at:.1f}" for x, at in places)
        parts.append(f'<path class="course" d="M{line}" style="stroke:{COLOUR};fill:none"/>')
    if bars:
        lines = "".join(f"M{_x(at, count):.1f} {y(a):.1f}V{y(b):.1f}" for at, a, b in bars)
        style = f"stroke:{COLOUR};stroke-width:1.5;stroke-opacity:0.6;fill:none"
        parts.append(f'<path class="bars" d="{lines}" style="{style}"/>')
    for name, valid in (("valid", True), ("hollow", False)):
        # All points of a kind are one line that is nowhere longer than its round ends.
        d = "".join(f"M{x:.1f} {at:.1f}h0" for (x, at), dot in zip(places, dots, strict=True) if dot.valid is valid)
        widths = [(COLOUR, DOT)] if valid else [(COLOUR, DOT), (PAPER, DOT - 2.4)]
        parts += [
            f'<path class="{name}" d="{d}" '
            f'style="stroke:{colour};stroke-width:{width:.1f};stroke-linecap:round;fill:none"/>'
            for colour, width in widths if d
        ]  # fmt: skip
    for (x, at), dot in zip(places, dots, strict=True):
        if dot.crowned:
            style = f"fill:{CROWN};font-size:15px"
            parts.append(f'<text x="{x:.1f}" y="{at + 5:.1f}" text-anchor="middle" style="{style}">★</text>')
    return "".join(parts)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """What the axis shows: all values and a twentieth beyond."""
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    margin = (high - low) / 20 or abs(high) / 20 or 1.0
    return low - margin, high + margin
