"""``detpress pareto``: latency against mAP over all runs of a folder, and the frontier among what may be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pipelines.config.options.tracking import TrackingOptions
from pipelines.runs.pareto import collect
from pipelines.runs.tables import WIDTH, print_table, stdout_console
from pipelines.system.arguments import Parser
from pipelines.system.files import write_text
from pipelines.system.redact import redact_text
from stages.errors import ExitCode, InputError
from stages.report import pareto

FILTERS: tuple[Literal["model"], Literal["data"], Literal["backend"]] = ("model", "data", "backend")


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the frontiers and write the page; its path is the last line on stdout."""
    parser = Parser(
        prog="detpress pareto",
        description="Latency against mAP of every engine that the runs of a folder or an MLflow store measured, and "
        "which none beats; each with 95 % intervals. Times are compared within one data set, machine, day, threads and "
        "batch.",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object instead of table and page")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: ARTIFACTS/pareto.html)")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--uri", help="the runs of an MLflow store instead, as in tracking.uri")
    for name in FILTERS:
        parser.add_argument(f"--{name}", metavar="NAME", help=f"only points of this {name}")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts)
    every, place = _collect(options.uri, artifacts)
    if not every:
        raise InputError(f"no run {place} has an engine with both latency and mAP; name another with --artifacts DIR "
                         "or --uri URI")  # fmt: skip
    points = [point for point in every if all(getattr(options, name) in (None, point[name]) for name in FILTERS)]
    if not points:
        has = "; ".join(f"{name}: {', '.join(sorted({point[name] for point in every}))}" for name in FILTERS)
        raise InputError(f"no engine fits the filters; there are {has}")
    if options.json:
        marked = zip(points, pareto.frontier(points), strict=True)
        print(json.dumps({"schema_version": 1, "points": [{**p, "frontier": best} for p, best in marked]}, indent=1))
        return ExitCode.DONE
    console, groups = stdout_console(WIDTH), dict.fromkeys(point["group"] for point in points)
    newest, *others = groups
    print_table(pareto.table([p for p in points if p["group"] == newest], f"Frontier: {newest}"), console)
    if others:
        console.print(f"the newest; {len(others)} more on the page, of other data, machines or days", soft_wrap=True)
    out = options.out or artifacts / "pareto.html"
    try:
        write_text(out, pareto.page(points))
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); name another file with --out") from error
    print(out)
    return ExitCode.DONE


def _collect(uri: str | None, artifacts: Path) -> tuple[list[pareto.Point], str]:
    """All points, and where they were looked for in words."""
    if uri is None:
        return collect(artifacts), f"under {(artifacts / 'runs').resolve()}"
    from pipelines.tracking import measured

    return measured.collect(TrackingOptions(uri=uri)), f"in MLflow at {redact_text(uri)}"
