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
    """One of the few numbers that one comes for; ``kind`` and ``badge`` are of a badge beside it, if any."""

    name: str
    number: str
    remark: str
    kind: str = ""
    badge: str = ""


@dataclass(frozen=True)
class Verdict:
    """Which engine to use. ``kind``: ``good``, ``unsure`` (its timing was disturbed) or ``none``."""

    kind: str
    headline: str
    cards: list[Card]
    why: str


@dataclass(frozen=True)
class Warned:
    """All timings that are not valid. ``again``: the command that takes them once more."""

    count: int
    total: int
    causes: list[str]
    sentences: list[str]
    again: str


@dataclass(frozen=True)
class Bar:
    """Of the bar chart. ``share`` and ``interval`` (left end, width) are percents of the axis."""

    name: str
    colour: int
    fill: str
    share: str
    interval: tuple[str, str] | None
    text: str
    note: str
    valid: bool
    tip: str


@dataclass(frozen=True)
class Bars:
    title: str
    bars: list[Bar]


@dataclass(frozen=True)
class Figure:
    svg: str
    caption: str = ""


@dataclass(frozen=True)
class Blocks:
    """What a search for a drop that holds came to: of blocks in float, or of compressions."""

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
    sources: list[str]
    """Where this was read, and on which devices it runs; sentences."""


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
class Gallery:
    """Images that were chosen for one reason, by engine."""

    title: str
    note: str
    engines: list[tuple[str, list[Image]]]


@dataclass(frozen=True)
class ProfilePart:
    """A group's part of an engine's bar; ``share`` is percents of it."""

    name: str
    share: str
    colour: str
    tip: str


@dataclass(frozen=True)
class ProfileBar:
    name: str
    parts: list[ProfilePart]


@dataclass(frozen=True)
class Profile:
    """Where the time of the engines goes: a bar for each, with one legend, and tables to open."""

    note: str
    legend: list[tuple[str, str]]
    """Colour, name."""
    bars: list[ProfileBar]
    table: Table
    more: list[tuple[str, str, list[Section]]]
    """Of each engine its name, a sentence, and its tables."""
    without: list[str]


@dataclass(frozen=True)
class Page:
    """All that the template shows, from top to bottom."""

    title: str
    status: str
    gates_badge: list[Badge]
    run_id: str
    about: list[str]
    command: str
    verdict: Verdict | None
    warned: Warned | None
    missing: list[tuple[list[str], str, str]]
    left_out: list[str]
    bars: list[Bars]
    results: list[Section]
    figures: list[Figure]
    details: list[Section]
    profiles: list[Profile]
    search: list[Blocks]
    float_blocks: list[Blocks]
    accuracy: list[Accuracy]
    scores: list[Section]
    audits: list[EngineAudit]
    agreement: list[Agreement]
    galleries: list[Gallery]
    origin: str
    facts: list[tuple[str, str]]
    curves: list[Figure]
    durations: Section
    attachments: list[tuple[str, str]]
    terms: list[tuple[str, str]]
