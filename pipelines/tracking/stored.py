"""The stages of a run that computed nothing, since their results lay in the store or their backend is not available
here: lines of one table instead of runs of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

FILE = "not_computed.json"
TAG, UNAVAILABLE_TAG = "from_store", "unavailable"
SHOWN_TAG = "mlflow.loggedArtifacts"
"""MLflow's own: which artifacts its pages show as tables."""
SHOWN = json.dumps([{"path": FILE, "type": "table"}])


class NotComputed:
    """What was taken from the store or is unavailable, and which other stages there were."""

    def __init__(self) -> None:
        self._stored: dict[str, list[Any]] = {}
        self._unavailable: dict[str, list[Any]] = {}
        self._computed: set[str] = set()

    def stored(self, node: str, key: str, artifact: Mapping[str, Any]) -> None:
        """Note a stage that was taken from the store; noting it twice changes nothing."""
        self._stored[node] = [node, "from the store", key, artifact["type"], artifact["size_bytes"]]

    def unavailable(self, node: str, key: str, why: str) -> None:
        """Note a stage that cannot run on this machine, likewise."""
        self._unavailable[node] = [node, f"unavailable: {why}", key, None, None]

    def computed(self, node: str) -> None:
        """Note a stage that has a run of its own."""
        self._computed.add(node)

    def tags(self) -> dict[str, str]:
        """``from_store`` and ``unavailable``: ``12 of 16 stages`` each; only what there is."""
        total = len(self._stored) + len(self._unavailable) + len(self._computed)
        counts = {TAG: len(self._stored), UNAVAILABLE_TAG: len(self._unavailable)}
        return {tag: f"{count} of {total} stages" for tag, count in counts.items() if count}

    def table(self) -> dict[str, Any]:
        """In the form that MLflow shows as a table."""
        rows = [*self._stored.values(), *self._unavailable.values()]
        return {"columns": ["stage", "why", "key", "result", "bytes"], "data": rows}
