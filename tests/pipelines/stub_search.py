"""``detpress`` whose compressions are numbers: ``python -m tests.pipelines.stub_search compress -m ...``.

A run leaves a folder and a report as a real one does, and ends early where a limit of its search is broken. The
environment says what else happens: ``STUB_INTERRUPT=N`` is a Ctrl-C in the run with that number, from 1;
``STUB_DISTURBED=avg`` disturbs the timings of an algorithm.
"""

from __future__ import annotations

import functools
import json
import os
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pipelines.compress
from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ray_sweep
from pipelines.runs import trial
from pipelines.runs.outcome import Outcome
from tests.pipelines.drawn_runs import DISTURBED, report

DROPS = {"avg": 0.1, "hist": 0.5, "KL": 0.4, "mse": 0.6}


def run_compress(config: PipelineConfig, *, command: Sequence[str], asked: trial.Asked | None = None) -> Outcome:
    own = config.compression
    runs = Path(config.run.artifacts) / "runs"
    number = len(list(runs.glob("*"))) + 1 if runs.is_dir() else 1
    folder = runs / f"20260101-1000{number:02d}-stub-{os.getpid():x}-{number:04x}"
    folder.mkdir(parents=True)
    if str(number) == os.environ.get("STUB_INTERRUPT"):
        os.kill(os.getpid(), signal.SIGINT)
    blocks, drop = own.batch - 1, DROPS[own.ptq_algo] + 2.0 / own.calibration_images - 0.15 * (own.batch - 1)
    if asked is not None and (broken := trial.beyond({"drop": drop}, asked.limits)):
        raise trial.LimitBroken(broken, folder.name, {"drop": drop})
    content = report(folder.name, "ppyoloe_tiny", "shapes", "", random.Random(0))
    for row in content["rows"]:
        row["validity"]["runtime"] = row["speedup_validity"]["runtime"] = "valid"
        if row["precision"] == "int8":
            row["speedup"]["runtime"] = speedup = 2.0 - 0.3 * blocks
            row["speedup_interval"]["runtime"] = [speedup - 0.1, speedup + 0.1]
            row["map_drop"] = drop
            if own.ptq_algo == os.environ.get("STUB_DISTURBED"):
                row["validity"]["runtime"] = row["speedup_validity"]["runtime"] = DISTURBED
    state = {"run_id": folder.name, "status": "FINISHED", "pipeline": "compress", "model": "ppyoloe_tiny",
             "data": "shapes", "started": "2026-01-01T10:00:00Z", "stages": {}}  # fmt: skip
    (folder / "run.json").write_text(json.dumps(state))
    (folder / "report.json").write_text(json.dumps(content))
    return Outcome(0, folder / "report.json")


def main() -> int:
    from pipelines import cli

    pipelines.compress.run_compress = run_compress  # type: ignore[assignment]
    hydra_command.ray_sweep.sweep = functools.partial(ray_sweep.sweep, module=__spec__.name)  # type: ignore[assignment]
    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
