"""The console script ``detpress``: finds the sub-command, and turns errors and signals into exit codes."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__" and "detpress" not in sys.modules:  # python -m pipelines.cli: begin where `detpress` begins
    _first = sys.path[0]
    sys.path.insert(0, __file__.rsplit(os.sep, 2)[0])
    from detpress import main as _begin

    del sys.path[0]
    sys.exit(_begin(_first))

import importlib
import signal
import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pipelines.system import telemetry
from pipelines.system.failures import tell
from pipelines.system.output import lossy, told_more
from pipelines.system.paths import require_folder
from pipelines.system.signals import stopped_by
from pipelines.system.user import named
from stages.errors import ExitCode, InputError

WIDTH = 80
"""Columns of ``detpress --help``."""


class Command(NamedTuple):
    """One row of the table; the module is imported when the command runs."""

    help: str
    module: str
    group: str


_DETECTOR, _CHAMPION, _RUNS = "Make a detector", "Keep it up to date", "Look at runs"
_BUNDLE, _MACHINE = "Bring it to another machine", "This machine"

COMMANDS: dict[str, Command] = {
    name: Command(line, f"pipelines.commands.{name.replace('-', '_')}", group)
    for name, line, group in (
        ("compress", "distil to INT8, build an engine per backend, measure latency and mAP, report", _DETECTOR),
        ("plan", "what `compress` would do with the same arguments: cached or to run, why, how long", _DETECTOR),
        ("finetune", "train the FP32 detector on a labelled set and write its checkpoint", _DETECTOR),
        ("import-config", "turn a FastDeploy or PaddleSlim ACT recipe into arguments of `compress`", _DETECTOR),
        ("sensitivity", "which blocks lose accuracy in INT8, measured on the built engine", _DETECTOR),
        ("size", "which model and input size reach a latency here, before anything is trained", _DETECTOR),
        ("retrain", "retrain once: if data, code or config changed, compress, compare with the champion, and promote "
         "if every gate passes", _CHAMPION),
        ("schedule", "retrain by the clock; list and change what is scheduled", _CHAMPION),
        ("promote", "make a run's engine the champion of MLflow's registry if every gate passes", _CHAMPION),
        ("rollback", "make the previous champion the champion again", _CHAMPION),
        ("champion", "show the champion, the challenger and the promotion history", _CHAMPION),
        ("runs", "list the runs of this folder: kind, outcome, age, mAP, speed-up", _RUNS),
        ("report", "show the report of a run again", _RUNS),
        ("compare", "what changed between two runs, with confidence intervals", _RUNS),
        ("trend", "mAP, latency and size over past runs, with confidence intervals", _RUNS),
        ("pareto", "latency against mAP over all runs, and which engines none beats", _RUNS),
        ("reproduce", "the exact command of a run, what changed since, and whether its results are the same", _RUNS),
        ("ui", "open the experiment tracking UI on this folder's runs", _RUNS),
        ("gc", "remove stored results that no kept run refers to", _RUNS),
        ("bundle", "pack an engine of a run for another machine", _BUNDLE),
        ("verify", "check a bundle on this machine: digests, agreement, latency", _BUNDLE),
        ("predict", "run a bundle's engine on images", _BUNDLE),
        ("doctor", "what this machine can run, and how to install what is missing", _MACHINE),
        ("completion", "print the lines that make bash, zsh or fish complete this command line", _MACHINE),
    )
}  # fmt: skip

_SHOWS = frozenset({"plan", "champion", "runs", "report", "compare", "trend", "pareto", "verify", "predict", "doctor"})
"""Commands that are there for their output; how the others ended does not change where it cannot be written."""

_HEAD = """\
detpress: an FP32 PP-YOLOE and a folder of unlabeled images in, a measured INT8
detector out.

Usage: detpress COMMAND [ARGUMENTS]
"""
_TAIL = """
Start with
  detpress doctor
  detpress compress experiment=demo
  detpress compress model=ppyoloe_s model.weights=FILE \\
      data=coco_folder data.root=DIR

`detpress COMMAND --help` tells more. Everywhere: --verbose tells every stage in
detail, --debug shows tracebacks, --version the version.

Exit codes: 0 done, 2 wrong config or input, 3 a gate failed, 4 a stage failed,
5 nothing changed (`retrain`, and `compress --exit-if-unchanged`), 130 and 143
interrupted.
"""


def help_text() -> str:
    """What ``detpress --help`` prints: the table, a heading for each group."""
    lines = []
    for group in dict.fromkeys(command.group for command in COMMANDS.values()):
        lines += ["", group]
        for name, command in COMMANDS.items():
            if command.group == group:
                lines += textwrap.wrap(f"  {name:<15}{command.help}", WIDTH, subsequent_indent=" " * 17)
    return "\n".join([_HEAD.rstrip("\n"), *lines, _TAIL])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    named(telemetry.off(os.environ))
    words = list(sys.argv[1:] if arguments is None else arguments)
    with lossy() as streams:
        return streams.exit_code(_main(words), shows=not words or words[0] in _SHOWS or words[0] not in COMMANDS)


def _main(words: list[str]) -> int:
    debug = "--debug" in words
    # Words that are to be completed are no flags of ours.
    quoted = words[:2] == ["completion", "words"]
    try:
        with stopped_by(), told_more("--verbose" in words and not quoted):
            return _dispatch([word for word in words if quoted or word not in ("--debug", "--verbose")], debug)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except SystemExit as stop:
        if stop.code == ExitCode.TERMINATED:
            return _stopped(signal.SIGTERM)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except Exception as error:
        return tell(error, debug=debug)


def _dispatch(arguments: list[str], debug: bool) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name in ("", "-h", "--help", "help"):
        print(help_text(), end="")
        return ExitCode.DONE if name else ExitCode.WRONG_INPUT
    require_folder()
    if name == "--version" or ("--version" in rest and name != "completion"):
        from importlib import metadata  # takes as long to load as all the rest

        print(f"detpress {metadata.version('detpress')}")
        return ExitCode.DONE
    if name not in COMMANDS:
        from pipelines.config.keys import close_to, suggestion

        meant = suggestion(close_to(name, COMMANDS))
        raise InputError(f"{name}: there is no such command{meant} (there are {', '.join(COMMANDS)})")
    command: Callable[[list[str], bool], int] = importlib.import_module(COMMANDS[name].module).main
    return command(rest, debug)


def _stopped(number: signal.Signals) -> int:
    print(f"stopped by {number.name}; finished stages are kept, the same command continues from there", file=sys.stderr)
    return 128 + number


if __name__ == "__main__":
    sys.exit(main())
