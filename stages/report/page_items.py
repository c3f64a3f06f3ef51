"""What the template of the HTML page is given: words and numbers, no markup but that of the figures."""

from __future__ import annotations

from dataclasses import dataclass

from stages.report.schema_engines import FloatLayer
from stages.report.tables import Table


@dataclass(frozen=True)
class Section:
    """A table under its title, with a sentence on how to read it."""

    table: Table
    note: str = ""


@dataclass(frozen=True)
class Badge:
    kind: str
    text: str


@dataclass(frozen=True)
class Card:
    """One of the few numbers that one comes for."""

    name: str
    number: str
    remark: str
    valid: bool = True


@dataclass(frozen=True)
class Figure:
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Blocks:
    """Which blocks are in float, and why."""

    met: bool
    headline: str
    sections: list[Section]
    figures: list[Figure]


@dataclass(frozen=True)
class Accuracy:
    images: int | None
    sizes: Table
    figures: list[Figure]
    classes: Table


@dataclass(frozen=True)
class Format:
    """A number format's share of the multiply-adds, 0 to 1."""

    name: str
    share: float
    layers: int
    colour: str


@dataclass(frozen=True)
class EngineAudit:
    name: str
    formats: list[Format]
    float_layers: list[FloatLayer]


@dataclass(frozen=True)
class Share:
    """A cell of the matrix of agreement; ``tint`` is the opacity of its colour."""

    text: str
    tint: str


@dataclass(frozen=True)
class Agreement:
    score: str
    images: int
    names: list[str]
    matrix: list[tuple[str, list[Share]]]
    sections: list[Section]


@dataclass(frozen=True)
class Image:
    file_name: str
    change: str
    data_url: str


@dataclass(frozen=True)
class Page:
    """All that the template shows, from top to bottom; a list of at most one where a part may be missing."""

    title: str
    status: str
    gates_badge: list[Badge]
    run_id: str
    about: list[str]
    command: str
    ship: list[str]
    cards: list[Card]
    invalid_timings: list[str]
    missing: list[tuple[list[str], str, str]]
    left_out: list[str]
    results: list[Section]
    figures: list[Figure]
    details: list[Section]
    float_blocks: list[Blocks]
    accuracy: list[Accuracy]
    scores: list[Section]
    audits: list[EngineAudit]
    agreement: list[Agreement]
    worst_images: list[tuple[str, list[Image]]]
    origin: str
    attachments: list[tuple[str, str]]
