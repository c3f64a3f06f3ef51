"""``detpress gc``: remove results that no kept run refers to.

Kept are the last N runs, those that are still running, those that a link under ``runs/`` names (``latest``, or one of
your own: ``ln -s RUN_ID artifacts/runs/best``), and those that a bundle under ``bundles/`` was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.runs.garbage import collect, garbage, show
from pipelines.system.arguments import Parser
from pipelines.system.units import size
from stages.errors import ExitCode, InputError


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """List what no kept run refers to, and remove it unless ``--dry-run`` is given."""
    parser = Parser(
        prog="detpress gc",
        description="Remove stored results that none of the kept runs refers to. Running runs, runs that a link "
        "under runs/ names (latest among them) and runs that a bundle was made from are kept beside the last N.",
    )
    parser.add_argument(
        "--keep-last", type=int, required=True, metavar="N", help="keep what the newest N runs refer to"
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would go")
    parser.add_argument("--runs", action="store_true", help="remove the folders of the other runs too (their reports)")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--store", metavar="URI", help="collect there (run.store), among the runs of all machines")
    options = parser.parse_args(arguments)
    artifacts = Path(options.artifacts).resolve()
    if options.keep_last < 0:
        raise InputError("--keep-last: name how many runs to keep, 0 or more")
    if options.store:
        from pipelines.runs import shared_garbage

        return shared_garbage.main(
            artifacts, options.store, options.keep_last, dry_run=options.dry_run, runs=options.runs
        )
    if not (artifacts / "store").is_dir():
        raise InputError(f"there is no store under {artifacts}; name its folder with --artifacts DIR")
    unused = garbage(artifacts, options.keep_last, runs=options.runs)
    show(unused)
    if not options.dry_run:
        busy = collect(artifacts, unused)
        print(f"removed {size(unused.bytes - sum(busy.values()))}")
        for name in busy:
            print(f"left alone, somebody works on it: {name}")
    return ExitCode.DONE
