"""``detpress trend``: mAP, latency and size over the runs of one model and data set, each with its noise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipelines.retraining.trend import LAST, collect, in_local_time
from pipelines.runs.history import find_run
from pipelines.runs.remembered import TrendReport, require_report
from pipelines.runs.tables import print_table, stdout_console
from pipelines.system.arguments import Parser
from pipelines.system.files import require_place, write_text
from stages.errors import ExitCode, InputError
from stages.numerics.variants import title_of


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the trend and write it as a page; its path is the last line on stdout."""
    parser = Parser(
        prog="detpress trend",
        description="How one engine's mAP, latency and size went from run to run, with 95 % intervals. Of the model, "
        "the data and the first backend of the run that is named.",
    )
    parser.add_argument(
        "run", nargs="?", default="latest", help="a run's id, its end or its folder; `latest` (the default)"
    )
    parser.add_argument("--backend", help="default: the first of the run")
    parser.add_argument("--precision", help="the variant, e.g. int8_fp16 (default: int8, where the run has it)")
    parser.add_argument("--last", type=int, default=LAST, metavar="N", help="newest runs (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of table and page")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default: ARTIFACTS/trend.html)")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts)
    out = options.out or artifacts / "trend.html"
    if not options.json:
        require_place(out, "--out")
    newest = require_report(find_run(options.run, artifacts), TrendReport)
    rows = newest["rows"]
    if not rows:
        raise InputError(f"the report of {options.run} has no engine; name another run")
    backend = options.backend or rows[0]["backend"]
    has = [row["precision"] for row in rows if row["backend"] == backend]
    precision = options.precision or ("int8" if "int8" in has else "fp32")
    points = collect(artifacts, newest["model"], newest["data"], backend, precision, options.last)
    if not points:
        raise InputError(f"no run of {newest['model']} on {newest['data']} has an engine {backend} {precision}")
    title = f"{newest['model']} on {newest['data']}, {backend} {title_of(precision)}"
    if options.json:
        print(json.dumps({"schema_version": 1, "title": title, "points": points}, indent=1))
        return ExitCode.DONE
    from stages.report import trend

    points = in_local_time(points)
    console = stdout_console()
    print_table(trend.table(points), console)
    page = trend.page(points, title)
    try:
        write_text(out, page)
    except OSError as error:
        raise InputError(f"{out} cannot be written ({error.strerror}); name another file with --out") from error
    print(out)
    return ExitCode.DONE
