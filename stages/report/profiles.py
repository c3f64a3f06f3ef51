"""Where the time of the engines goes, as a report tells it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from stages.artifacts import ProfileResult
from stages.report import marks
from stages.report.rows import ORDER
from stages.report.schema import Row
from stages.report.schema_profile import EngineProfile, MeasuredProfile, NoProfile, ProfileContent, Profiles
from stages.report.tables import NOTHING, Table, engine_name

LONGEST = 12
"""Shapes of convolutions, and layers, that a report keeps of an engine."""
TITLES: dict[str, str] = {
    "convolutions": "Convolutions",
    "activations": "Activations",
    "elementwise": "Sums and pooling",
    "joins": "Joining and resizing",
    "layout": "Layout",
    "quantize": "Quantizing",
    "head": "Head",
    "tail": "Decoding, NMS",
    "other": "Other",
}
"""Group (`stages/profiling/groups.py`) -> what people call it."""
EXPLAINED = (
    "By each runtime's own profiler, in sessions of their own. Head: layers that serve only boxes or only scores, "
    "its convolutions too; an activation that is fused into a convolution counts with it. A profiler costs time, so "
    "the sum of the layers is no latency: the column beside it says how many times the timed Runtime it is. Of peak: "
    "the share of this machine's arithmetic peak that all convolutions reach, the peak measured by small kernels "
    "beside them. A star: other processes or the clock disturbed the profile; its shares hold better than its times."
)


def read(profiles: Sequence[ProfileResult], rows: Sequence[Row]) -> Profiles | None:
    """What the ``profile`` stages found, in their order; ``None`` where no engine was to be profiled."""
    if not profiles:
        return None
    engines: list[EngineProfile] = []
    without: list[NoProfile] = []
    for result in profiles:
        content: ProfileContent = json.loads(result.path("profile.json").read_text(encoding="utf-8"))
        for precision in sorted(content["engines"], key=_rank):
            measured = content["engines"][precision]
            if "none" in measured:
                without.append({"backend": content["backend"], "precision": precision, "reason": measured["none"]})
            else:
                engines.append(_engine(content, precision, measured, rows))
    return {"engines": engines, "without": without}


def _rank(precision: str) -> int:
    return ORDER.index(precision) if precision in ORDER else len(ORDER)


def _engine(content: ProfileContent, precision: str, of: MeasuredProfile, rows: Sequence[Row]) -> EngineProfile:
    backend = content["backend"]
    timed = next((row for row in rows if (row["backend"], row["precision"]) == (backend, precision)), None)
    runtime = timed["latency"]["runtime"] if timed else None
    return {
        "backend": backend,
        "precision": precision,
        "profiler": of["profiler"],
        "runs": of["runs"],
        "threads": content["threads"],
        "run_ms": of["run_ms"],
        "sum_ms": of["sum_ms"],
        "over_latency": of["sum_ms"] / runtime["median_ms"] if runtime and runtime["median_ms"] else None,
        "verdict": of["validity"]["verdict"],
        "groups": of["groups"],
        "kinds": of["kinds"],
        "convolutions": of["convolutions"],
        "shapes": of["shapes"][:LONGEST],
        "peak": of["peak"],
        "peak_by": of["peak_by"],
        "layers": of["layers"][:LONGEST],
    }


def name_of(engine: EngineProfile) -> str:
    """As people call it, with the mark of a profile that was disturbed."""
    return engine_name(engine["backend"], engine["precision"]) + marks.star(marked(engine["verdict"]))


def marked(verdict: str) -> str | None:
    """The verdict if something disturbed the profile; few runs are no disturbance, and were meant so."""
    return None if _only_few(verdict) else verdict


def _only_few(verdict: str) -> bool:
    return all(reason.startswith("too few ") for reason in verdict.removeprefix("invalid: ").split("; "))


def share_table(profiles: Profiles) -> Table:
    """A line per engine: what share of its time each group takes."""
    shown = _groups(profiles)
    header = ["Engine", "Sum of layers, ms", "Of Runtime", "Of peak", *(TITLES[name] for name in shown)]
    rows = [
        [
            name_of(one),
            f"{one['sum_ms']:.2f}",
            NOTHING if one["over_latency"] is None else f"{one['over_latency']:.2f}×",
            percent(one["convolutions"]["of_peak"], 0),
            *(percent(one["groups"][name]["share"] if name in one["groups"] else 0.0) for name in shown),
        ]
        for one in profiles["engines"]
    ]
    return Table("Where the time goes", header, rows)


def group_table(profiles: Profiles) -> Table:
    """The same in milliseconds of a run."""
    shown = _groups(profiles)
    rows = [
        [name_of(one), *(f"{one['groups'][name]['ms'] if name in one['groups'] else 0.0:.3f}" for name in shown)]
        for one in profiles["engines"]
    ]
    return Table("Milliseconds by group", ["Engine", *(TITLES[name] for name in shown)], rows)


def engine_tables(engine: EngineProfile) -> list[Table]:
    """Of one engine its convolutions by shape, its layers by the runtime's word, and the longest layers."""
    shapes = [
        [one["shape"], one["format"].upper(), str(one["layers"]), f"{one['ms']:.3f}", percent(one["share"]),
         f"{one['multiply_adds'] / 1e6:.1f}", percent(one["of_peak"], 0)]
        for one in engine["shapes"]
    ]  # fmt: skip
    kinds = [
        [name, str(of["layers"]), f"{of['ms']:.3f}", percent(of["share"])]
        for name, of in list(engine["kinds"].items())[:LONGEST]
    ]
    layers = [
        [one["name"], one["kind"], TITLES.get(one["group"], one["group"]), f"{one['ms']:.3f}", percent(one["share"])]
        for one in engine["layers"]
    ]
    return [
        Table(
            "Convolutions by shape",
            ["Kernel, channels, result", "Format", "Layers", "ms", "Share", "Million multiply-adds", "Of peak"],
            shapes,
        ),
        Table("By the runtime's word", ["Kind", "Layers", "ms", "Share"], kinds),
        Table("The longest layers", ["Layer", "Kind", "Group", "ms", "Share"], layers),
    ]


def peaks(engine: EngineProfile) -> str:
    """The peak that an engine is held against, in words; empty where none was measured."""
    found = [
        f"{name.upper()} {rate / 1e9:.0f} thousand million multiply-adds a second"
        + (f" ({engine['peak_by'][name]})" if name in engine["peak_by"] else "")
        for name, rate in engine["peak"].items()
    ]
    threads = f"{engine['threads']} thread{'s' if engine['threads'] > 1 else ''}"
    return f"The peak on {threads}: {', '.join(found)}." if found else ""


def without(profiles: Profiles) -> list[str]:
    """A sentence per reason why engines have no profile."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in profiles["without"]:
        found.setdefault((one["backend"], one["reason"]), []).append(engine_name("", one["precision"]).strip())
    return [f"No profile of {backend} {', '.join(names)}: {reason}" for (backend, reason), names in found.items()]


def percent(share: float | None, count: int = 1) -> str:
    return NOTHING if share is None else f"{share:.{count}%}"


def _groups(profiles: Profiles) -> list[str]:
    """The groups that any engine has."""
    there = {name for one in profiles["engines"] for name in one["groups"]}
    return [name for name in TITLES if name in there]
