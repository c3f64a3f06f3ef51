"""``detpress compare RUN_A RUN_B``: what changed between two runs, with intervals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.text import Text

from pipelines.runs.history import find_run
from pipelines.runs.remembered import require_report
from pipelines.runs.tables import print_table, stdout_console
from pipelines.system.arguments import Parser
from stages.errors import ExitCode, InputError
from stages.outside.text import plain


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the differences of two runs and return the exit code."""
    parser = Parser(
        prog="detpress compare",
        description="What changed from one run to another: latency (second / first), speed-up and mAP, each with a "
        "95 % interval, and which layers take longer or shorter. A star marks timings that are not valid.",
    )
    parser.add_argument("first", help="a run's id, its end or its folder")
    parser.add_argument("second", nargs="?", default="latest", help="another's; `latest` by default")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts)
    reports = [require_report(find_run(run, artifacts)) for run in (options.first, options.second)]

    from stages.report import compare_profiles, compare_runs

    changes = compare_runs.compare(reports[0], reports[1], compare_runs.stored(artifacts / "store"))
    if not changes:
        names = " and ".join(report["run_id"] for report in reports)
        raise InputError(
            f"{names} have no engine in common that was measured in both; compare runs of the same backends"
        )
    if options.json:
        content = {"first": reports[0]["run_id"], "second": reports[1]["run_id"], "changes": changes}
        content["profiles"] = compare_profiles.compare_profiles(*reports)
        print(json.dumps(content, indent=1))
        return ExitCode.DONE
    console = stdout_console()
    for place, report in zip(("first ", "second"), reports, strict=True):
        run = f"{report['run_id']}  {report['model']} on {report['data']}, {report['hardware']}"
        console.print(f"{place}  {plain(run)}")
    if reports[0]["hardware"] != reports[1]["hardware"]:
        console.print(Text("the runs were made on different hardware: latencies differ for that reason too", "yellow"))
    print_table(compare_runs.table(changes), console)
    for sentence in compare_profiles.sentences(*reports):
        console.print(Text(plain(sentence)))
    return ExitCode.DONE
