"""``detpress reproduce RUN``: the exact command of a run, what has changed since, and whether the same comes out."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from pipelines.execution import ids
from pipelines.execution.interpreter import OWN
from pipelines.execution.paddle_python import workers_python
from pipelines.runs import history
from pipelines.runs.history import find_run
from pipelines.runs.remembered import require_state
from pipelines.store.local import Store
from pipelines.system import provenance
from pipelines.system.arguments import Parser
from pipelines.system.output import say
from stages.catalog import StageEntry, stage_entry
from stages.errors import ConfigError, ExitCode, InputError, StoreError
from stages.outside.text import plain
from stages.processes import children, python

_GRACE_SECONDS = 10.0
"""For a run that is stopped: it ends within five."""
_SHOWN = 8
"""Changed packages that are named before the rest is counted."""


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print the command on stdout and the differences on stderr; with ``--run`` or ``--fresh``, run it."""
    parser = Parser(
        prog="detpress reproduce",
        description="Print the exact command of a run, and on stderr what differs from then (code, packages, machine).",
    )
    parser.add_argument(
        "run", nargs="?", default="latest", help="the run's id, its end or its folder; `latest` (the default)"
    )
    parser.add_argument("--run", dest="execute", action="store_true", help="run it, with the results that are stored")
    parser.add_argument(
        "--fresh",
        metavar="DIR",
        help="run it with DIR as run.artifacts, so that everything is computed, and compare the weights bit for bit",
    )
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    options = parser.parse_args(arguments)
    folder = find_run(options.run, Path(options.artifacts))
    state = require_state(folder, "command", "stages", "run_id")
    try:
        words = shlex.split(state["command"])
    except ValueError as error:
        raise InputError(f"{folder}: the command in its run.json is none ({error}); see its config.yaml") from error
    if options.fresh:
        # Nothing may come from where it was stored, here or for all machines.
        words += [f"run.artifacts={Path(options.fresh).resolve()}", "run.store=null"]
    here = f"cd {shlex.quote(state['folder'])} && " if "folder" in state else ""
    print(plain(here + shlex.join(words)))
    for line in differences(state):
        say(f"differs: {line}")
    if not (options.execute or options.fresh):
        return ExitCode.DONE
    if "folder" in state and not os.path.isdir(state["folder"]):  # noqa: PTH112  # whatever is in the text
        raise InputError(
            f"{state['folder']!r}, where the run was started, is no folder here; run its command where its data lies"
        )
    sys.stdout.flush()
    command = python.command("pipelines.cli", *words[1:])
    done = children.run(command, cwd=state.get("folder"), env=python.environment(), shown=True, grace=_GRACE_SECONDS)
    if done.returncode == 0 and options.fresh:
        return _compare(state, folder.resolve().parents[1], Path(options.fresh).resolve())
    return done.returncode


def differences(state: history.RunState) -> list[str]:
    """What is not as it was in the run: the code, Python, packages, the machine."""
    differs: list[str] = []
    try:
        workers = workers_python(state.get("paddle_python"))
    except ConfigError as error:
        differs += error.problems
        workers = OWN
    for name, then, now in (
        ("commit", state.get("commit"), provenance.commit()),
        ("python", state.get("python"), workers.version),
        ("hardware", state.get("hardware"), provenance.hardware()),
        ("driver", state.get("driver"), provenance.driver()),
    ):
        if name in state and then != now:
            differs.append(f"{name} {then} then, {now} now")
    before, versions = state.get("versions", {}), workers.packages()
    changed = [n for n in {*before, *versions} if before and before.get(n) != versions.get(n)]
    changed.sort(key=lambda name: (not name.startswith("paddle"), name))  # which Paddle is never only counted
    differs += [
        f"{n} {before.get(n, 'not installed')} then, {versions.get(n, 'not installed')} now" for n in changed[:_SHOWN]
    ]
    if len(changed) > _SHOWN:
        differs.append(f"{len(changed) - _SHOWN} more packages")
    return differs


def _compare(before: history.RunState, artifacts: Path, fresh: Path) -> int:
    """``STAGE_FAILED`` unless every trained or converted model has the same bytes as then.

    Args:
        before: the state of the run.
        artifacts, fresh: where it is, and where it was repeated.
    """
    folder = history.folders(fresh)[0]
    state = history.read_state(folder)
    after = state.get("stages", {}) if state is not None else {}
    same = True
    for name, stage in before["stages"].items():
        made_by = ids.stage_of(name)
        if made_by is None or not stage_entry(made_by).exact or "files" not in stage:
            continue
        try:
            then = _exact_files(stage, artifacts, stage_entry(made_by))
            equal = then == _exact_files(after.get(name, {}), fresh, stage_entry(made_by))
            outcome = "the same, bit for bit" if equal else "other bytes than then"
        except StoreError as error:
            equal, outcome = False, f"it cannot be compared: {error}"
        same &= equal
        say(f"{name}: {outcome}")
    print(json.dumps({"run": before["run_id"], "again": folder.name, "same": same}))
    return ExitCode.DONE if same else ExitCode.STAGE_FAILED


def _exact_files(stage: history.StageState, artifacts: Path, entry: StageEntry) -> object:
    """What has to be equal of a stage's files: their digest, or those of each where some hold times.

    Raises:
        StoreError: the files are needed one by one, and are no longer in the store under ``artifacts``.
    """
    if not entry.measured_files or "entry" not in stage:
        return stage.get("files")
    files = Store(artifacts).load(stage["entry"]).files
    return {n: d for n, d in files.items() if not any(fnmatch(n, pattern) for pattern in entry.measured_files)}
