"""What ``search.json`` holds; see `stages/search/content.py`."""

from __future__ import annotations

from typing import TypedDict


class SearchStep(TypedDict):
    name: str
    kind: str
    algorithm: str
    steps: int
    blocks: list[str]
    drop: float | None
    low: float | None
    high: float | None
    speedup: float | None
    seconds: float
    at: float
    failed: str


class SearchContent(TypedDict):
    schema_version: int
    backend: str
    unit: str
    max_drop: float
    time_budget: float
    images: int
    met: bool
    why: str
    outcome: str
    chosen: str
    seconds: float
    path: list[SearchStep]
    undecided: list[str]
