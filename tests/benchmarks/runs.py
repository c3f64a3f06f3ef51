"""What `detpress runs` and `detpress trend` take with thousands of runs in the folder: ``make bench-runs``.

Each is a command of its own, with the index beside the runs and without it. The last line is JSON: seconds (with: the
least of three), and without / with.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

from pipelines.runs.index import NAME, SETTLED
from stages.processes.python import command, environment
from tests.pipelines.drawn_runs import draw_runs

IMAGES = 60
"""Of each run's validation set."""
TURNS = 3


def main() -> None:
    """Draw the runs, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--last", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Path(folder)
        folders = draw_runs(artifacts, options.runs, images=IMAGES)
        newest = [path.name for path in folders if (path / "report.json").is_file()][-1]
        time.sleep(SETTLED / 1e9)
        commands = {"runs": ["runs"], "trend": ["trend", newest, "--last", str(options.last)]}
        result: dict[str, float] = {}
        for name, words in commands.items():
            (artifacts / NAME).unlink(missing_ok=True)
            without = seconds([*words, "--artifacts", folder])  # writes the index
            indexed = min(seconds([*words, "--artifacts", folder]) for _ in range(TURNS))
            result |= {f"{name}_s": indexed, f"{name}_without_s": without, f"{name}_ratio": without / indexed}
    print(json.dumps({"runs": options.runs, "last": options.last} | {k: round(v, 3) for k, v in result.items()}))


def seconds(words: list[str]) -> float:
    """Of a command, from its start to its end."""
    begun = time.perf_counter()
    subprocess.run(command("pipelines.cli", *words), env=environment(), capture_output=True, check=True)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
