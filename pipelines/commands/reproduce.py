"""``detpress reproduce RUN``: the exact command of a run, what has changed since, and whether the same comes out."""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.runs import history
from pipelines.runs.history import find_run
from pipelines.system import provenance
from stages.errors import ExitCode, InputError

_SHOWN = 8
"""Changed packages that are named before the rest is counted."""
_COMPARED = ("finetune", "export", "distill")
"""Stages whose files have to be the same, bit for bit; timings are not, and lists of images carry paths."""


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the command on stdout and the differences on stderr; with ``--run`` or ``--fresh``, run it."""
    parser = argparse.ArgumentParser(
        prog="detpress reproduce",
        description="Print the exact command of a run, and on stderr what differs from then (code, packages, machine).",
    )
    parser.add_argument("run", nargs="?", default="latest", help="the run's id or folder; `latest` (the default)")
    parser.add_argument("--run", dest="execute", action="store_true", help="run it, with the results that are stored")
    parser.add_argument(
        "--fresh",
        metavar="DIR",
        help="run it with DIR as run.artifacts, so that everything is computed, and compare the weights bit for bit",
    )
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    folder = find_run(options.run, Path(options.artifacts))
    state = history.read_state(folder)
    if state is None or "command" not in state:
        raise InputError(f"{folder} has no run.json that names its command: it was not written by this version")
    words = shlex.split(state["command"])
    if options.fresh:
        # Nothing may come from where it was stored, here or for all machines.
        words += [f"run.artifacts={Path(options.fresh).resolve()}", "run.store=null"]
    print(f"cd {shlex.quote(state['folder'])} && {shlex.join(words)}" if "folder" in state else shlex.join(words))
    for line in differences(state):
        print(f"differs: {line}", file=sys.stderr)
    if not (options.execute or options.fresh):
        return ExitCode.DONE
    sys.stdout.flush()
    done = subprocess.run([sys.executable, "-m", "pipelines.cli", *words[1:]], cwd=state.get("folder"), check=False)
    if done.returncode == 0 and options.fresh:
        return _compare(state, Path(options.fresh))
    return done.returncode


def differences(state: history.RunState) -> list[str]:
    """What is not as it was in the run: the code, Python, packages, the machine."""
    differs: list[str] = []
    for name, then, now in (
        ("commit", state.get("commit"), provenance.commit()),
        ("python", state.get("python"), platform.python_version()),
        ("hardware", state.get("hardware"), provenance.hardware()),
        ("driver", state.get("driver"), provenance.driver()),
    ):
        if name in state and then != now:
            differs.append(f"{name} {then} then, {now} now")
    before, versions = state.get("versions", {}), provenance.versions()
    changed = [n for n in sorted({*before, *versions}) if before and before.get(n) != versions.get(n)]
    differs += [
        f"{n} {before.get(n, 'not installed')} then, {versions.get(n, 'not installed')} now" for n in changed[:_SHOWN]
    ]
    if len(changed) > _SHOWN:
        differs.append(f"{len(changed) - _SHOWN} more packages")
    return differs


def _compare(before: history.RunState, artifacts: Path) -> int:
    """``STAGE_FAILED`` unless every trained or converted model has the same bytes as then."""
    folder = history.folders(artifacts)[0]
    after = history.read_state(folder) or {}
    same = True
    for name, stage in before["stages"].items():
        if name.partition(".")[0] not in _COMPARED or "files" not in stage:
            continue
        equal = after.get("stages", {}).get(name, {}).get("files") == stage["files"]
        same &= equal
        print(f"{name}: {'the same, bit for bit' if equal else 'other bytes than then'}", file=sys.stderr)
    print(json.dumps({"run": before["run_id"], "again": folder.name, "same": same}))
    return ExitCode.DONE if same else ExitCode.STAGE_FAILED
