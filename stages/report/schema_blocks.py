"""What ``sensitivity.json`` and ``float_blocks.json`` hold; see `stages/mixed_precision`."""

from __future__ import annotations

from typing import TypedDict


class BlockDamage(TypedDict):
    block: str
    layers: int
    share: float
    distance: float
    map_drop: float | None
    low: float | None
    high: float | None


class SensitivityContent(TypedDict):
    schema_version: int
    backend: str
    model_layers: int
    labels: str | None
    images: int
    fp32_map: float | None
    blocks: list[BlockDamage]


class FloatBlock(TypedDict):
    block: str
    layers: int
    share: float
    gain: float
    ms_lost: float


class Mixture(TypedDict):
    """One that was tried."""

    blocks: list[str]
    map: float
    map_drop: float
    speedup: float
    ms: float


class FloatBlocksContent(TypedDict):
    schema_version: int
    backend: str
    max_map_drop: float
    min_speedup: float
    labels: str
    images: int
    met: bool
    outcome: str
    fp32_map: float
    int8_map: float
    map: float
    int8_drop: float
    map_drop: float
    int8_speedup: float
    speedup: float
    blocks: list[FloatBlock]
    steps: list[Mixture]
    ranking: SensitivityContent | None
