"""``detpress finetune``: train the FP32 detector, and write its checkpoint to ``out=FILE``."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands import hydra_command
from pipelines.config.schema import PipelineConfig
from stages.errors import InputError


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Train; the path of the checkpoint is the last line on stdout."""
    words, outs = apart(arguments)
    if outs and ("-m" in words or "--multirun" in words):
        raise InputError("out: the runs of a sweep would overwrite each other's file; leave it out")

    def task(config: PipelineConfig, command: list[str]) -> int:
        from pipelines.finetune import run_finetune

        out = outs[0].removeprefix("out=") if outs else None
        outcome = run_finetune(config, out, command=[*command, *outs])
        return hydra_command.finish(outcome.exit_code, outcome.path)

    return hydra_command.run("finetune", words, task, debug=debug, finetune_only=True)


def apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without ``out=FILE``, and that: it belongs to this command, not to the config that all share."""
    outs = [argument for argument in arguments if argument.startswith("out=")]
    if len(outs) > 1 or outs == ["out="]:
        raise InputError("out: name one file, e.g. out=mine.pdparams")
    return [argument for argument in arguments if argument not in outs], outs
