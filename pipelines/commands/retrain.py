"""``detpress retrain``: one retraining, or with ``--dry-run`` only the reasons for one."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig
from pipelines.retraining import refused
from stages.errors import InputError

_FLAG = "--dry-run"


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Retrain; the path of ``last.json`` is the last line on stdout, also where the command line or config is wrong."""
    dry_run = _FLAG in arguments
    words = [argument for argument in arguments if argument != _FLAG]
    begun: list[bool] = []  # not empty once a config passed its checks: from there on the pipeline records errors

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines import retrain

        begun.append(True)
        if dry_run:
            return retrain.dry_run(config)
        return hydra_command.finish(*retrain.run_retrain(config, command=command, debug=debug))

    try:
        return hydra_command.run("retrain", words, task, debug=debug)
    except InputError as error:
        if begun or dry_run:
            raise
        return hydra_command.finish(*refused.refused(words, error, debug=debug))
