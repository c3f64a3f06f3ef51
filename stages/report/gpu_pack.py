"""What a pack for GPUs found (``gpu-pack.json``, written by ``check.py`` of the pack), as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

from stages.errors import InputError
from stages.numerics.audit import provider_name
from stages.numerics.variants import title_of
from stages.outside import records
from stages.outside.names import shown
from stages.report.markdown_text import escape
from stages.report.tables import NOTHING, Table

if TYPE_CHECKING:
    from typing_extensions import NotRequired

KIND, VERSION = "gpu-pack", 1


class Ratio(TypedDict):
    """How many times faster: the median over ``rounds``, and its bounds, if there were rounds enough."""

    median: float
    low: float | None
    high: float | None
    rounds: int


class PackRow(TypedDict):
    """One graph on one runtime.

    ``status`` is ok, differs, failed, unavailable or never; ``difference`` is a part of the outputs' mean size;
    ``nodes`` counts by provider, ``elsewhere`` by operator what did not run where it was asked to; ``disturbed``: why
    the timing is not to be believed.
    """

    model: str
    runtime: str
    variant: str
    status: str
    reason: NotRequired[str | None]
    difference: NotRequired[float]
    bound: NotRequired[float]
    nodes: NotRequired[dict[str, int]]
    elsewhere: NotRequired[dict[str, int]]
    median_ms: NotRequired[float]
    over_fp32: NotRequired[Ratio]
    plain_ms: NotRequired[float]
    over_plain: NotRequired[Ratio]
    untimed: NotRequired[str]
    disturbed: NotRequired[list[str]]


class Gpu(TypedDict):
    """A GPU as its driver names it, and its compute capability."""

    name: str
    capability: str


class PackMachine(TypedDict):
    """``why``: what keeps the GPU from being used."""

    gpus: NotRequired[list[Gpu]]
    driver: NotRequired[str | None]
    cuda: NotRequired[str | None]
    why: NotRequired[str | None]


class Accepted(TypedDict):
    """Whether TensorRT for RTX took the GPU."""

    status: NotRequired[str]
    reason: NotRequired[str | None]
    version: NotRequired[str]


class PackRecord(TypedDict):
    """The whole file. ``finished`` is false where the check was stopped."""

    kind: str
    schema_version: int
    machine: PackMachine
    rtx: Accepted
    rows: list[PackRow]
    finished: bool
    wheels_missing: NotRequired[str]


def read(path: Path) -> PackRecord:
    """The record in a file.

    Raises:
        InputError: there is none, or it is not one of a pack for GPUs.
    """
    try:
        content: dict[str, Any] = records.read(path)
    except FileNotFoundError as error:
        raise InputError(f"there is no {path}; name a run, or the JSON that the pack's check.py wrote") from error
    if content.get("kind") != KIND:
        raise InputError(f"{path} is not the JSON of a pack for GPUs (kind {KIND!r}); name a run, or that file")
    if (version := content.get("schema_version")) != VERSION:
        raise InputError(f"{path} has the version {shown(version)}, and this detpress reads {VERSION}; pack it again")
    try:
        records.conform(content, PackRecord)
    except ValueError as error:
        raise InputError(f"{path} cannot be read: {error}; run check.py again") from error
    return cast(PackRecord, content)


def render(record: PackRecord) -> str:
    """What ran, a row for each graph and runtime; what never ran is said in words."""
    machine, rtx = record["machine"], record["rtx"]
    gpus = [f"{gpu['name']} (compute capability {gpu['capability']})" for gpu in machine.get("gpus") or []]
    about = [
        ("GPU", ", ".join(gpus) or f"none: {machine.get('why') or 'it was not looked for'}"),
        ("Driver", str(machine.get("driver") or "none")),
        ("CUDA of the driver", str(machine.get("cuda") or "none")),
        ("TensorRT for RTX", " ".join([rtx.get("version", ""), rtx.get("status", ""), rtx.get("reason") or ""])),
    ]
    ran = [row for row in record["rows"] if row["status"] in ("ok", "differs")]
    left = [row for row in record["rows"] if row not in ran]
    parts = ["# What a GPU does with the graphs", "\n".join(f"- {name}: {escape(text)}" for name, text in about)]
    if not record["finished"]:
        parts.append("**The check was stopped before its end; what it had found until then follows.**")
    if missing := record.get("wheels_missing"):
        parts.append(f"The wheels of the pack were not used: {escape(missing)}.")
    if ran:
        parts.append(_table(ran).markdown())
    if disturbed := [row for row in ran if row.get("disturbed")]:
        lines = [f"{_name(row)}: {'; '.join(row['disturbed'])}" for row in disturbed]
        parts.append("## Timings that were disturbed\n\n" + "\n".join(f"- {escape(line)}" for line in lines))
    if left:
        lines = [f"{_name(row)}: {row['status']}. {row.get('reason') or ''}" for row in left]
        parts.append("## What did not run\n\n" + "\n".join(f"- {escape(line)}" for line in lines))
    parts.append(
        "The weights were drawn, so nothing here is an accuracy. Times are host to host; of ONNX Runtime as detpress "
        "opens an engine (a CUDA graph where every node runs on the GPU, in the layout that is faster), and plainly "
        "(kernel by kernel, images as NCHW)."
    )
    return "\n\n".join(parts) + "\n"


def _table(rows: list[PackRow]) -> Table:
    header = ["Model", "Runtime", "Variant", "Status", "ms", "Over FP32", "Plain ms"]
    header += ["Difference", "Bound", "Nodes", "Elsewhere"]
    return Table("", header, [_cells(row) for row in rows])


def _cells(row: PackRow) -> list[str]:
    nodes = [f"{count} {provider_name(name)}" for name, count in row.get("nodes", {}).items()]
    elsewhere = [f"{count} {name}" for name, count in row.get("elsewhere", {}).items()]
    return [
        row["model"],
        row["runtime"],
        title_of(row["variant"]),
        row["status"],
        f"{row['median_ms']:.2f}{' (disturbed)' if row.get('disturbed') else ''}" if "median_ms" in row else NOTHING,
        _ratio(row["over_fp32"]) if "over_fp32" in row else NOTHING,
        f"{row['plain_ms']:.2f}" if "plain_ms" in row else NOTHING,
        f"{row['difference']:.1e}" if "difference" in row else NOTHING,
        f"{row['bound']:.0e}" if "bound" in row else NOTHING,
        ", ".join(nodes) or NOTHING,
        ", ".join(elsewhere) or NOTHING,
    ]


def _ratio(ratio: Ratio) -> str:
    if ratio["low"] is None or ratio["high"] is None:
        return f"{ratio['median']:.2f}"
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def _name(row: PackRow) -> str:
    return f"{row['model']}, {row['runtime']}, {row['variant']}"
