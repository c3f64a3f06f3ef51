"""What a stage is likely to take, from the record of an earlier result: of other options, or of another model."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from pipelines.execution.node import Node, Work
from pipelines.store.entries import Record
from pipelines.system import provenance

SCALES = ("steps", "runs")
"""Options that the time of a stage grows with."""
RATE = 11.5e9
"""Multiply-adds a second and thread in the distillation's steps, of PP-YOLOE-l on two cores of an EPYC
(docs/benchmarks.md): for the first estimate on a machine that has computed none yet."""


LEAST_GUESS = 600.0
"""Seconds below which what is done once (graphs, ranges) counts too, and nobody has to be warned."""


def plain(work: Work | None) -> dict[str, Any] | None:
    """A node's work as it is kept with the record of its result."""
    return None if work is None else {"model": work.model, "amount": work.amount, "parameters": work.parameters}


def comparable(node: Node, record: Record, hardware: str) -> bool:
    """Whether what a record's result took says anything about this node: it was made on this kind of machine, and is of
    the same model or of one whose amount of work is known beside this one's."""
    if (record.get("provenance") or {}).get("hardware", hardware) != hardware:
        return False
    return node.work is None or same_model(node, record) or _ratio(node.work.amount, _of(record, "amount")) is not None


def same_model(node: Node, record: Record) -> bool:
    """Whether the record is of the node's own model, or the stage does the same for every model."""
    return node.work is None or (_of(record, "model"), _of(record, "amount")) == (node.work.model, node.work.amount)


def growth(node: Node, record: Record) -> float:
    """How many times larger the node's result is than the record's."""
    return (_ratio(node.work.parameters, _of(record, "parameters")) if node.work is not None else None) or 1.0


def seconds(node: Node, options: Mapping[str, Any], record: Record) -> float:
    """What the node is likely to take.

    Args:
        options: the node's, as plain values.
        record: of a result that is `comparable`.
    """
    took, before = float(record["seconds"]), record["parts"].get("options", {})
    times = (_ratio(node.work.amount, _of(record, "amount")) if node.work is not None else None) or 1.0
    limit = options.get("max_seconds")
    for name in SCALES:
        if before.get(name) and options.get(name) and limit is None:
            times *= options[name] / before[name]
    if limit is not None and limit == before.get("max_seconds"):
        return took  # it may be what ended it
    moving = min(took, _of_steps(record, before))
    return took - moving + moving * times


def guess(node: Node, options: Mapping[str, Any]) -> float | None:
    """What a long distillation takes on CPUs as people usually have them; ``None`` of a short one, of other stages, and
    on a GPU."""
    known = node.work is not None and node.work.amount is not None
    if node.stage != "distill" or not known or options.get("method") != "qat_distill" or provenance.driver():
        return None
    assert node.work is not None and node.work.amount is not None
    found = float(options["steps"]) * node.work.amount / (RATE * max(1, node.threads))
    return found if found >= LEAST_GUESS else None


def _of_steps(record: Record, options: Mapping[str, Any]) -> float:
    """Seconds of a record that its steps took, all else being done once; of a stage without steps, all of them."""
    speeds = [value for name, value, _ in record.get("metrics", []) if name == "images_per_s"]
    if not speeds or not options.get("steps") or not options.get("batch"):
        return float(record["seconds"])
    images = options["steps"] * options["batch"] * options.get("processes", 1)
    return float(images / statistics.median(speeds))


def _of(record: Record, name: str) -> Any:
    return (record.get("work") or {}).get(name)


def _ratio(now: float | None, before: float | None) -> float | None:
    return now / before if now and before else None
