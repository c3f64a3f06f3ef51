"""``detpress compress``: one compression, or with ``--exit-if-unchanged`` none if it would only repeat the last one."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig
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
        from pipelines.compress import run_compress

        outcome = run_compress(config, command=command)
        return hydra_command.finish(outcome.exit_code, outcome.path)

    words = [argument for argument in arguments if argument != _FLAG]
    own_flags = [_FLAG] if exit_if_unchanged else []
    return hydra_command.run("compress", words, task, debug=debug, own_flags=own_flags)
