"""In which number formats engines compute, and how that is known, as items of the page."""

from __future__ import annotations

from collections.abc import Sequence

from stages.numerics.audit import provider_name
from stages.numerics.variants import is_float
from stages.report.page_items import EngineAudit, Format
from stages.report.schema import Row
from stages.report.schema_engines import Audit
from stages.report.tables import row_name

FORMAT_COLOURS = {"int8": "var(--int8)", "fp16": "var(--half)", "bf16": "var(--half)", "fp32": "var(--fp32)"}
OTHER_COLOUR = "var(--soft)"
READ_FROM = {
    "engine": "Read from the built engine, by TensorRT's inspector.",
    "network": "Read from the typed network that the engine was built of; only a GPU could ask the engine itself.",
    "program": "Read from the program that Paddle Inference made of it.",
}


def audit_items(rows: Sequence[Row]) -> list[EngineAudit]:
    """Of each engine that was audited; layers left in float are listed of those that are not float anyway."""
    return [
        EngineAudit(
            row_name(row),
            [
                Format(name.upper(), share, audit["layers"].get(name, 0), FORMAT_COLOURS.get(name, OTHER_COLOUR))
                for name, share in audit["share"].items()
            ],
            audit["float_layers"] if not is_float(row["precision"]) else [],
            _sources(audit),
        )
        for row in rows
        if (audit := row["audit"])
    ]


def _sources(audit: Audit) -> list[str]:
    """Where an audit was read, if not from the graph that runs, and on which devices the nodes ran."""
    found = [READ_FROM[audit["read_from"]]] if audit.get("read_from") in READ_FROM else []
    if inspected := audit.get("inspected"):
        formats = ", ".join(f"{count} {name}" for name, count in inspected["formats"].items())
        layers, fused = inspected["layers"], inspected["fused"]
        found.append(f"The engine has {layers} layers, {fused} of them fused; they take {formats}.")
    if devices := audit.get("devices"):
        nodes = ", ".join(f"{count} on {provider_name(name)}" for name, count in devices["nodes"].items())
        kinds = [f"{kind} {count}" for other in devices["elsewhere"].values() for kind, count in other.items()]
        astray = f"; not where they were asked to: {', '.join(kinds)}" if kinds else ""
        found.append(f"Nodes: {nodes}{astray}.")
    return found
