"""How engines look in every figure: one colour per backend; hollow is FP32, half filled another float, filled INT8.

A colour of a figure is one of a page's variables (``templates/style.css``) with the colour itself behind it, so that
the figure follows the page into the dark and yet stands alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from stages.numerics.variants import VARIANTS, is_float
from stages.report.rows import BASE
from stages.report.schema import Row

PALETTE = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#ca8a04", "#0891b2", "#be123c", "#4b5563")
INK, PAPER, LINE, SOFT = "#000000", "#ffffff", "#e5e7eb", "#9ca3af"
HOLLOW, HALF, FULL = "hollow", "half", "full"
HALF_ALPHA = 0.35
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
_LINES = {HOLLOW: (0, (4, 2)), HALF: (0, (5, 1.5, 1, 1.5)), FULL: "solid"}
_VARIABLES = {INK: "ink", PAPER: "card", LINE: "line", SOFT: "soft"} | {c: f"c{i}" for i, c in enumerate(PALETTE)}


@dataclass(frozen=True)
class Style:
    """Of one engine. ``number``: of its backend's colour in `PALETTE`."""

    number: int
    fill: str
    marker: str

    @property
    def colour(self) -> str:
        return PALETTE[self.number]

    @property
    def face(self) -> str | tuple[str, float]:
        """The colour inside of a marker or a bar."""
        if self.fill == HALF:
            return self.colour, HALF_ALPHA
        return PAPER if self.fill == HOLLOW else self.colour

    @property
    def line(self) -> object:
        """Matplotlib's line style."""
        return _LINES[self.fill]


def styles(rows: Iterable[Row]) -> dict[tuple[str, str], Style]:
    """``(backend, variant)`` -> its style; backends get their colours in the order of the rows."""
    names = [(row["backend"], row["precision"]) for row in rows]
    backends = list(dict.fromkeys(backend for backend, _ in names))
    order = list(VARIANTS)
    return {
        (backend, precision): Style(
            backends.index(backend) % len(PALETTE),
            fill_of(precision),
            _MARKERS[(order.index(precision) if precision in order else len(order)) % len(_MARKERS)],
        )
        for backend, precision in names
    }


def fill_of(precision: str) -> str:
    """``hollow``, ``half`` or ``full``."""
    if precision == BASE:
        return HOLLOW
    return HALF if is_float(precision) else FULL


def with_variables(svg: str) -> str:
    """An SVG element whose colours are the page's variables."""
    return re.sub(
        r"(?<=[ :])(#[0-9a-f]{6})(?=[;\"])",
        lambda found: f"var(--{name},{found[1]})" if (name := _VARIABLES.get(found[1])) else found[1],
        svg,
    )
