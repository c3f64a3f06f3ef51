"""``detpress compress``: one compression, or with ``--exit-if-unchanged`` none if it would only repeat the last one."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig
from pipelines.runs import trial
from pipelines.system.failures import tell
from pipelines.system.output import say
from stages.errors import ExitCode

_FLAG = "--exit-if-unchanged"


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Compress; the path of the report is the last line on stdout."""
    exit_if_unchanged = _FLAG in arguments

    def task(config: PipelineConfig, command: list[str]) -> int:
        if exit_if_unchanged:
            from pipelines.commands import unchanged

            if (report := unchanged.repeated(config)) is not None:
                from pipelines.tracking.delivery import send_earlier

                for problem in send_earlier(report.parents[1], config.tracking):
                    say(f"warning: {problem}")
                say(f"nothing changed since {report.parent.name}")
                return hydra_command.finish(ExitCode.UNCHANGED, report)
        if (asked := own or trial.asked_here()) is not None:
            return _try(config, command, asked, tells=own is not None, debug=debug)
        from pipelines.compress import run_compress

        outcome = run_compress(config, command=command)
        return hydra_command.finish(outcome.exit_code, outcome.path)

    asked = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{trial.FLAG}=")]
    own = trial.parse(asked[-1]) if asked else None
    words = [word for word in arguments if word != _FLAG and not word.startswith(f"{trial.FLAG}=")]
    own_flags = [_FLAG] if exit_if_unchanged else []
    return hydra_command.run("compress", words, task, debug=debug, own_flags=own_flags)


def _try(config: PipelineConfig, command: list[str], asked: trial.Asked, *, tells: bool, debug: bool) -> int:
    """A trial of a search (`pipelines/runs/trial.py`): whatever becomes of it is an answer.

    Args:
        tells: print the answer for the process of the search.
    """
    from pipelines.compress import run_compress

    path = None
    try:
        outcome = run_compress(config, command=command, asked=asked)
        code, path = outcome.exit_code, outcome.path
        assert path is not None, "a compression has a report"
        measured = trial.measure(path.parent, asked)
    except trial.LimitBroken as broken:
        say(f"{broken.message}: the trial ends here")
        code, measured = broken.exit_code, trial.Measured(trial.PRUNED, broken.message, broken.run, broken.values)
    except Exception as error:
        code = tell(error, debug=debug)
        measured = trial.Measured(trial.FAILED, str(error).strip().partition("\n")[0] or type(error).__name__)
    trial.tell(measured)
    if tells:
        print(measured.line, flush=True)
    return hydra_command.finish(code, path)
