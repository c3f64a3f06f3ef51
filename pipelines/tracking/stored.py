"""The stages of a run whose results lay in the store: lines of one table instead of runs of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FILE = "from_store.json"
TAG = "from_store"
SHOWN_TAG = "mlflow.loggedArtifacts"
"""MLflow's own: which artifacts its pages show as tables."""
SHOWN = json.dumps([{"path": FILE, "type": "table"}])


class FromStore:
    """What was taken from the store, and how many stages there were in all."""

    def __init__(self) -> None:
        self._rows: dict[str, list[Any]] = {}
        self._computed: set[str] = set()

    def add(self, node: str, key: str, artifact: Mapping[str, Any]) -> None:
        """Note a stage that was taken from the store; noting it twice changes nothing."""
        self._rows[node] = [node, key, artifact["type"], artifact["size_bytes"]]

    def computed(self, node: str) -> None:
        """Note a stage that has a run of its own."""
        self._computed.add(node)

    def said(self) -> str:
        """``12 of 16 stages``; empty where nothing came from the store."""
        return f"{len(self._rows)} of {len(self._rows) + len(self._computed)} stages" if self._rows else ""

    def table(self) -> dict[str, Any]:
        """In the form that MLflow shows as a table."""
        return {"columns": ["stage", "key", "result", "bytes"], "data": list(self._rows.values())}
