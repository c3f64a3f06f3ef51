"""The console script ``detpress``: finds the sub-command, and turns errors and signals into exit codes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from types import FrameType

from pipelines.system import telemetry
from pipelines.system.failures import tell
from stages.errors import InputError

HELP = """\
detpress: an FP32 PP-YOLOE and a folder of unlabeled images in, a measured INT8 detector out.

Usage: detpress COMMAND [ARGUMENTS]

Commands
  compress    distil to INT8, build an engine per backend, measure latency and mAP, report
  retrain     the run-once form of scheduled retraining: changed? compress, gate against the champion, promote or keep
  promote     make a run's engine the champion of MLflow's registry if it holds against the present one
  rollback    make the champion's predecessor the champion again
  champion    the champion, the challenger, and how it came to that
  trend       mAP, latency and size from run to run, with their noise
  plan        what `compress` would do with the same arguments: cached or to run, why, how long
  finetune    train the FP32 detector on a labelled set and write its checkpoint
  sensitivity which blocks lose accuracy in INT8, on the built engine
  report      show the report of a run again
  runs        the runs of this folder: status, mAP, speed-up, size
  reproduce   the exact command of a run, what changed since, and whether the same comes out
  schedule    retrain by the clock, and look at or change what is scheduled
  gc          remove stored results that no kept run refers to
  compare     what changed between two runs, with intervals
  bundle      pack an engine of a run for another machine
  verify      check a bundle here: digests, agreement, latency
  predict     run a bundle's engine on images
  ui          open the experiment tracking UI on this folder's runs
  doctor      what this machine can run, and how to install what it cannot

Start with
  detpress doctor
  detpress compress experiment=demo
  detpress compress model=ppyoloe_s model.weights=FILE data=coco_folder data.root=DIR

`detpress COMMAND --help` tells more. Everywhere: --debug shows tracebacks, --version the version.

Exit codes: 0 done, 2 wrong config or input, 3 a gate failed, 4 a stage failed, 5 nothing changed (`retrain`, and
`compress --exit-if-unchanged`), 130 and 143 interrupted.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code."""
    telemetry.off(os.environ)
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return _dispatch(given, debug)
    except KeyboardInterrupt:
        return _stopped(signal.SIGINT)
    except SystemExit as stop:
        if stop.code == 128 + signal.SIGTERM:
            return _stopped(signal.SIGTERM)
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BrokenPipeError:
        # The reader of our output has left (`detpress report latest | head`); the rest has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        return tell(error, debug=debug)
    finally:
        signal.signal(signal.SIGTERM, before)


def _dispatch(arguments: list[str], debug: bool) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if name in ("", "-h", "--help", "help"):
        print(HELP, end="")
        return 0 if name else 2
    if name == "--version" or "--version" in rest:
        print(f"detpress {metadata.version('detpress')}")
        return 0
    if name not in _COMMANDS:
        from pipelines.config.keys import close_to, suggestion

        meant = suggestion(close_to(name, _COMMANDS))
        raise InputError(f"{name}: there is no such command{meant} (there are {', '.join(_COMMANDS)})")
    return _COMMANDS[name](rest, debug)


def _compress(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import hydra_command
    from pipelines.config.schema import PipelineConfig

    flag = "--exit-if-unchanged"

    def task(config: PipelineConfig, command: list[str]) -> int:
        if flag in arguments:
            from pipelines.commands import unchanged

            if (report := unchanged.repeated(config)) is not None:
                print(f"nothing changed since {report.parent.name}", file=sys.stderr)
                return _ended(unchanged.EXIT_CODE, report)
        from pipelines.compress import run_compress

        outcome = run_compress(config, command=command)
        return _ended(outcome.exit_code, outcome.path)

    own = [flag] if flag in arguments else []
    return hydra_command.run("compress", [a for a in arguments if a != flag], task, debug=debug, own_flags=own)


def _plan(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import hydra_command
    from pipelines.config.schema import PipelineConfig

    as_json = "--json" in arguments

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines.commands import plan

        return plan.show(config, as_json=as_json)

    return hydra_command.run("plan", [a for a in arguments if a != "--json"], task, debug=debug)


def _finetune(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import hydra_command
    from pipelines.config.schema import PipelineConfig

    # `out` belongs to this command, not to the config that it shares with `compress`.
    outs = [argument for argument in arguments if argument.startswith("out=")]
    rest = [argument for argument in arguments if argument not in outs]
    if len(outs) > 1 or outs == ["out="]:
        raise InputError("out: name one file, e.g. out=mine.pdparams")
    if outs and ("-m" in rest or "--multirun" in rest):
        raise InputError("out: the runs of a sweep would overwrite each other's file; leave it out")

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines.finetune import run_finetune

        out = outs[0].removeprefix("out=") if outs else None
        outcome = run_finetune(config, out, command=[*command, *outs])
        return _ended(outcome.exit_code, outcome.path)

    return hydra_command.run("finetune", rest, task, debug=debug, finetune_only=True)


def _retrain(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import hydra_command
    from pipelines.config.schema import PipelineConfig
    from pipelines.retraining import refused

    flag = "--dry-run"
    begun: list[bool] = []

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines import retrain

        begun.append(True)
        if flag in arguments:
            return retrain.dry_run(config)
        return _ended(*retrain.run_retrain(config, command=command, debug=debug))

    rest = [argument for argument in arguments if argument != flag]
    try:
        return hydra_command.run("retrain", rest, task, debug=debug)
    except InputError as error:
        if begun or flag in arguments:
            raise
        return _ended(*refused.refused(rest, error, debug=debug))


def _sensitivity(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import hydra_command
    from pipelines.config.schema import PipelineConfig

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines.sensitivity import run_sensitivity

        outcome = run_sensitivity(config, command=command)
        return _ended(outcome.exit_code, outcome.path)

    return hydra_command.run("sensitivity", arguments, task, debug=debug)


def _report(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import report as show

    return show.main(arguments)


def _runs(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import runs

    return runs.main(arguments)


def _reproduce(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import reproduce

    return reproduce.main(arguments)


def _schedule(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import schedule

    return schedule.main(arguments, debug)


def _gc(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import gc

    return gc.main(arguments)


def _compare(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import compare

    return compare.main(arguments)


def _bundle(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import bundle

    return bundle.bundle(arguments)


def _verify(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import bundle

    return bundle.verify(arguments)


def _predict(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import bundle

    return bundle.predict(arguments)


def _trend(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import trend

    return trend.main(arguments)


def _promote(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import champion

    return champion.promote(arguments)


def _rollback(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import champion

    return champion.rollback(arguments)


def _champion(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import champion

    return champion.champion(arguments)


def _ui(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import ui

    return ui.main(arguments)


def _doctor(arguments: list[str], debug: bool) -> int:
    from pipelines.commands import doctor

    return doctor.main(arguments)


_COMMANDS: dict[str, Callable[[list[str], bool], int]] = {
    "compress": _compress,
    "plan": _plan,
    "finetune": _finetune,
    "retrain": _retrain,
    "promote": _promote,
    "rollback": _rollback,
    "champion": _champion,
    "trend": _trend,
    "sensitivity": _sensitivity,
    "report": _report,
    "runs": _runs,
    "reproduce": _reproduce,
    "schedule": _schedule,
    "gc": _gc,
    "compare": _compare,
    "bundle": _bundle,
    "verify": _verify,
    "predict": _predict,
    "ui": _ui,
    "doctor": _doctor,
}


def _ended(exit_code: int, made: Path | None) -> int:
    """The path of what was made is the last line on stdout, for scripts."""
    if made is not None:
        print(made, flush=True)
    return exit_code


def _stop(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def _stopped(number: signal.Signals) -> int:
    print(f"stopped by {number.name}; finished stages are kept, the same command goes on from there", file=sys.stderr)
    return 128 + number


if __name__ == "__main__":
    sys.exit(main())
