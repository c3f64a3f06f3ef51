"""``detpress verify``: check a bundle on this machine before it works here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.system.arguments import Parser, share
from pipelines.system.devices import DeviceLocks, device_of
from pipelines.system.output import say
from stages import backends
from stages.errors import ExitCode
from stages.outside.text import line
from stages.report import marks


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Check a bundle here; ``GATE_FAILED`` if it finds other boxes, ``WRONG_INPUT`` if it was changed."""
    parser = Parser(
        prog="detpress verify",
        description="Check a bundle on this machine: every file's digest, agreement on the golden images, quick mAP "
        "and latency. Exit codes: 0 as promised, 2 changed or not runnable here, 3 it finds other boxes.",
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--sha256", metavar="HEX", help="digest that the zip file has to have, as `bundle` printed it")
    parser.add_argument(
        "--min-agreement",
        type=share,
        default=0.95,
        metavar="X",
        help="least share of equal boxes (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    from stages.bundle.contents import unpack
    from stages.bundle.verify import verify

    with tempfile.TemporaryDirectory(prefix="detpress-") as folder:
        opened = unpack(options.bundle, Path(folder), digest=options.sha256)
        engine = opened.engine
        device = device_of(engine.options, backends.get(engine.backend).fingerprint())
        with DeviceLocks().timing(device, say):
            result = verify(opened)
        result["ok"] = result["agreement"] >= options.min_agreement
        if options.json:
            print(json.dumps({"schema_version": 1, "bundle": str(options.bundle), **result}))
        else:
            _print(opened.record, result)
    return ExitCode.DONE if result["ok"] else ExitCode.GATE_FAILED


def _print(record: Mapping[str, Any], result: Mapping[str, Any]) -> None:
    print(line(f"{record['model']}, {record['precision']} for {record['backend']}, from run {record['run_id']}"))
    print("digests         every file is as it was made")
    share, count = result["agreement"], result["expected"]
    mark = "as promised" if result["ok"] else "NOT as promised"
    print(f"golden images   {100 * share:.1f} % of {count} boxes agree, {mark}")
    if result["map"] is not None:
        wanted = "nothing" if result["promised_map"] is None else f"{result['promised_map']:.1f}"
        print(f"quick mAP       {result['map']:.1f}, promised {wanted} (golden images only)")
    promised = result["promised_ms"]
    reference = "" if promised is None else f", promised {promised:.2f} ms on {result['promised_on']}"
    if promised is not None and not marks.is_valid(result["promised_timing"]):
        reference += f", measured while disturbed ({marks.why(result['promised_timing'])})"
    print(line(f"latency         {result['median_ms']:.2f} ms{reference}"))
