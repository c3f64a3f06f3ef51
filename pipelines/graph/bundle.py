"""The node of the graph that packs an engine as a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from pipelines.config.digest import NOT_RESULTS
from pipelines.execution import ids
from pipelines.execution.node import Node
from pipelines.execution.paddle_python import workers_python
from pipelines.runs import history
from pipelines.store.local import Store
from stages.artifacts import Artifact, Engine
from stages.backends.variants import opened_as
from stages.errors import InputError
from stages.numerics.variants import VARIANTS
from stages.options.accuracy import NmsOptions
from stages.options.bundle import BundleOptions
from stages.report.schema import ReportContent


def bundle_node(folder: Path, store: Store, backend: str, precision: str, golden: int) -> Node:
    """The bundle stage on what the run in ``folder`` left in the store.

    Raises:
        InputError: the run has no such engine.
        StoreError: what it left is gone.
        ConfigError: the Python that its stages ran on is gone.
    """
    state = history.read_state(folder)
    if state is None:
        raise InputError(f"{folder} has no run.json; name a run that `detpress runs` lists")
    stages = {name: s["entry"] for name, s in state["stages"].items() if s.get("entry")}
    if precision not in VARIANTS:
        raise InputError(f"precision={precision}: there is no such variant; there are {', '.join(VARIANTS)}")
    if ids.build(backend, precision) not in stages:
        built = [" ".join(engine) for engine in ids.engines(stages)]
        raise InputError(
            f"{folder.name} has no engine for backend={backend} precision={precision}; "
            f"it has {', '.join(built) or 'none'}"
        )
    config = yaml.safe_load((folder / "config.yaml").read_text())
    engine = store.load(stages[ids.build(backend, precision)])
    assert isinstance(engine, Engine)
    engine = opened_as(engine, precision)
    labeled = ids.LABELS_VAL in stages
    fingerprint = workers_python(state.get("paddle_python")).fingerprint(backend)
    inputs: dict[str, Artifact | None] = {
        "engine": engine,
        "exported": store.load(stages[ids.export(precision)]),
        "labeled": store.load(stages[ids.LABELS_VAL]) if labeled else None,
        "images": None if labeled else store.load(stages[ids.IMAGES]),
    }
    options = BundleOptions(
        run_id=state["run_id"],
        model=config["model"]["name"],
        golden=golden,
        nms=NmsOptions(**config["accuracy"]["nms"]),
        promised=_promised(folder, backend, precision),
        hardware=state["hardware"],
        versions=state["versions"],
        requirements=["numpy", "opencv-python-headless", *fingerprint],
        config={name: part for name, part in config.items() if name not in NOT_RESULTS},
    )
    return Node(
        id=ids.bundle(backend, precision),
        stage="bundle",
        options=options,
        origins={"nms": "accuracy.nms"},
        inputs=inputs,
        threads=int(engine.options.get("threads", 1)),
        fingerprint=fingerprint,
    )


def _promised(folder: Path, backend: str, precision: str) -> dict[str, Any]:
    """What the run measured of this engine."""
    report: ReportContent = json.loads((folder / "report.json").read_text())
    for row in report["rows"]:
        runtime, end2end = row["latency"]["runtime"], row["latency"]["end2end"]
        if (row["backend"], row["precision"]) == (backend, precision) and runtime and end2end:
            return {
                "map": row["map"],
                "map50": row["map50"],
                "median_ms": runtime["median_ms"],
                "end2end_ms": end2end["median_ms"],
            }
    return {}
