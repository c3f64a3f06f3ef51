"""``detpress sensitivity``: which blocks lose accuracy in INT8."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Analyse; the path of ``sensitivity.json`` is the last line on stdout."""

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines.sensitivity import run_sensitivity

        outcome = run_sensitivity(config, command=command)
        return hydra_command.finish(outcome.exit_code, outcome.path)

    return hydra_command.run("sensitivity", arguments, task, debug=debug)
