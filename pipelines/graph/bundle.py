"""The node of the graph that packs an engine as a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypedDict

from pipelines.config.digest import NOT_RESULTS
from pipelines.execution import ids
from pipelines.execution.node import Node
from pipelines.execution.paddle_python import workers_python
from pipelines.runs.remembered import PromisedReport, require_report, require_state
from pipelines.store.local import Store
from stages.artifacts import Artifact, Engine, ExportedModel, ImageList, LabeledSet, Thresholds
from stages.backends.variants import opened_as
from stages.bundle.facts import collect
from stages.bundle.layouts import require_layout
from stages.errors import InputError
from stages.numerics.variants import VARIANTS
from stages.options.accuracy import NmsOptions
from stages.options.bundle import BundleOptions
from stages.outside import files, records, yaml_text
from stages.report import marks
from stages.report.schema import ReportContent, Row


class _Model(TypedDict):
    name: str


class _Accuracy(TypedDict):
    nms: NmsOptions


class _Config(TypedDict):
    model: _Model
    accuracy: _Accuracy


def bundle_node(folder: Path, store: Store, backend: str, precision: str, golden: int, layout: str = "") -> Node:
    """The bundle stage on what the run in ``folder`` left in the store.

    Raises:
        InputError: the run has no such engine, or it does not fit the layout.
        StoreError: what it left is gone.
        ConfigError: the Python that its stages ran on is gone.
    """
    state = require_state(folder, "run_id", "stages", "hardware", "versions")
    stages = {name: s["entry"] for name, s in state["stages"].items() if s.get("entry")}
    if precision not in VARIANTS:
        raise InputError(f"precision={precision}: there is no such variant; there are {', '.join(VARIANTS)}")
    if ids.build(backend, precision) not in stages:
        built = [" ".join(engine) for engine in ids.engines(stages)]
        raise InputError(
            f"{folder.name} has no engine for backend={backend} precision={precision}; "
            f"it has {', '.join(built) or 'none'}"
        )
    config = _config(folder / "config.yaml")
    engine = store.load_as(stages[ids.build(backend, precision)], Engine)
    engine = opened_as(engine, precision)
    require_layout(engine, layout)
    labeled = ids.LABELS_VAL in stages
    fingerprint = workers_python(state.get("paddle_python")).fingerprint(backend)
    inputs: dict[str, Artifact | None] = {
        "engine": engine,
        "exported": store.load_as(stages[ids.export(precision)], ExportedModel),
        "labeled": store.load_as(stages[ids.LABELS_VAL], LabeledSet) if labeled else None,
        "images": None if labeled else store.load_as(stages[ids.IMAGES], ImageList),
    }
    if (name := ids.thresholds(backend)) in stages:
        inputs["thresholds"] = store.load_as(stages[name], Thresholds)
    report = require_report(folder, PromisedReport)
    row = _row(report, backend, precision)
    options = BundleOptions(
        run_id=state["run_id"],
        model=config["model"]["name"],
        golden=golden,
        layout=layout,
        nms=NmsOptions(**config["accuracy"]["nms"]),
        promised=_promised(row),
        facts=dict(collect(report, row)),
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


def _config(path: Path) -> dict[str, Any]:
    """The run's config, as far as a bundle needs it. Raises InputError if it cannot be read."""
    try:
        config: Any = yaml_text.parse(files.read_text(path, most=records.MOST_BYTES))
        records.conform(config, _Config)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {reason}; run the run's command again") from error
    return dict(config)


def _row(report: ReportContent, backend: str, precision: str) -> Row | None:
    """The engine's row in a report; ``None`` if there is none."""
    return next((row for row in report["rows"] if (row["backend"], row["precision"]) == (backend, precision)), None)


def _promised(row: Row | None) -> dict[str, Any]:
    """What the run measured of this engine."""
    runtime, end2end = (row["latency"]["runtime"], row["latency"]["end2end"]) if row else (None, None)
    if row is None or not runtime or not end2end:
        return {}
    return {
        "map": row["map"],
        "map50": row["map50"],
        "median_ms": runtime["median_ms"],
        "end2end_ms": end2end["median_ms"],
        "timing": marks.timing(row, "runtime"),
        "end2end_timing": marks.timing(row, "end2end"),
        "speedup": (row.get("speedup") or {}).get("runtime"),
        "speedup_timing": marks.speedup(row, "runtime"),
    }
