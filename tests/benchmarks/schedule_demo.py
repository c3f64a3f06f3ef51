"""Three ticks of a schedule on the drawn shapes: ``make schedule-demo``, or
``python -m tests.benchmarks.schedule_demo``.

1. A folder of drawn images, and ``detpress schedule`` with a tick a minute. The first retraining makes a champion.
2. The next tick finds nothing changed.
3. New images arrive, drawn from another seed. The third retrains, challenges the champion, and promotes or keeps.

Ticks that come while a retraining goes on are skipped, as ``schedule.overlap`` says. It all stays under
``artifacts/schedule-demo``, which each demo begins anew. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from pipelines.retraining.journal import now
from stages.data.draw import Draw
from stages.options.data import ShapesOptions
from tests.conftest import ROOT
from tests.fakes import FakeContext

CONFIG = [
    *("experiment=demo", "data=coco_folder", "data.name=shapes", "compression.steps=12", "compression.batch=4"),
    *("latency=quick", "latency.runs=40", "latency.warmup=5", "latency.max_seconds=6", "accuracy.max_images=60"),
]
MARK = ".schedule-demo"
FIRST, NEW, VAL = 48, 24, 60


def main() -> int:
    """Run the demo; 0 if the three ticks ended as they should."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interval", type=float, default=60.0, help="seconds between ticks (default: %(default)g)")
    parser.add_argument("--folder", default="artifacts/schedule-demo", metavar="DIR", help="default: %(default)s")
    parser.add_argument("--limit", type=float, default=5400.0, help="give up after this many seconds")
    parser.add_argument("--screenshots", metavar="DIR", help="write pictures of the tracking UI there at the end")
    options = parser.parse_args()
    folder = fresh(Path(options.folder))
    data = folder / "data"
    draw(data, seed=7, unlabeled=FIRST)
    draw(folder / "more", seed=8, unlabeled=NEW)
    command = [sys.executable, "-m", "pipelines.cli", "schedule", *CONFIG, f"data.root={data}"]
    command += [f"data.unlabeled_images={data / 'unlabeled'}"]
    command += [f"run.artifacts={folder}", f"schedule.interval={options.interval:g}", "schedule.at_start=true"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    say(f"{FIRST} images drawn; starting: detpress schedule {' '.join(command[4:])}")
    scheduler = subprocess.Popen(command, cwd=folder, env=environment)
    limit = time.monotonic() + options.limit
    story: list[dict[str, Any]] = []
    try:
        story.append(ended(folder, scheduler, 1, limit))
        story.append(ended(folder, scheduler, 2, limit))
        arrive(folder / "more" / "unlabeled", data / "unlabeled")
        say(f"{NEW} new images arrived in {data / 'unlabeled'}, drawn from another seed")
        arrived = now()
        if options.screenshots:
            status_picture(folder, Path(options.screenshots), limit)
        story.append(ended(folder, scheduler, 3, limit, since=arrived))
    finally:
        if scheduler.poll() is None:
            scheduler.send_signal(signal.SIGTERM)
        scheduler.wait(120)
    subprocess.run([*command[:4], "history", "--artifacts", str(folder)], cwd=folder, env=environment, check=False)
    outcomes = [line["outcome"] for line in story]
    if options.screenshots:
        from tests.benchmarks.schedule_pictures import pictures

        pictures(folder, Path(options.screenshots))
    say(f"the three ticks: {', '.join(outcomes)}. All of it in MLflow: detpress ui --artifacts {folder}")
    told = [{name: line.get(name) for name in ("outcome", "reason", "run_id", "version", "champion")} for line in story]
    print(json.dumps({"schema_version": 1, "artifacts": str(folder), "ticks": told}))
    good = outcomes[0] == "promoted" and outcomes[1] == "unchanged" and outcomes[2] in ("promoted", "kept")
    return 0 if good else 4


def fresh(folder: Path) -> Path:
    """An empty folder; only one that an earlier demo made is emptied."""
    if folder.exists() and not (folder / MARK).is_file():
        raise SystemExit(f"{folder} is not an earlier demo's; name another with --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    return folder.resolve()


def draw(folder: Path, *, seed: int, unlabeled: int) -> None:
    """A set of drawn images with the layout of ``data=coco_folder``."""
    context = FakeContext(folder.with_name(f"{folder.name}-{seed}"))
    Draw(ShapesOptions(train=VAL, unlabeled=unlabeled, val=VAL, size=[320, 320], seed=seed)).run(Draw.Inputs(), context)
    context.out.rename(folder)
    shutil.rmtree(context.work.parent)


def arrive(new: Path, unlabeled: Path) -> None:
    """Move images of another seed in beside the unlabeled ones, each whole at once."""
    for image in sorted(new.iterdir()):
        image.rename(unlabeled / f"new_{image.name}")


def ended(
    folder: Path, scheduler: subprocess.Popen[bytes], count: int, limit: float, since: str = ""
) -> dict[str, Any]:
    """The ``count``-th tick that became a retraining and came to its end; with ``since``, the first that began then."""
    path = folder / "schedule" / "history.jsonl"
    while True:
        lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
        whole = [line for line in lines if line["outcome"] not in ("skipped", "missed") and not line.get("again")]
        if since:
            whole, count = [line for line in whole if line["started"] >= since], 1
        if len(whole) >= count:
            return dict(whole[count - 1])
        if scheduler.poll() is not None:
            raise SystemExit(f"the scheduler ended by itself with code {scheduler.returncode}")
        if time.monotonic() > limit:
            raise SystemExit(f"the tick did not end in time; see {folder / 'schedule' / 'logs'}")
        time.sleep(0.5)


def status_picture(folder: Path, pictures: Path, limit: float) -> None:
    """`detpress schedule status` while a retraining is in one of its stages."""
    from tests.benchmarks.terminal_pictures import picture, printed, screen

    words = ["schedule", "status", "--artifacts", "."]
    while time.monotonic() < limit:
        said = screen(printed(words, folder))
        if re.search(r"stage\s+[\w.]+,", said):
            picture(
                said.replace(str(folder), "~/work"), f"detpress {' '.join(words)}", pictures / "schedule-status.png"
            )
            return
        time.sleep(2)


def say(text: str) -> None:
    """A line of the story."""
    print(f"--- {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
