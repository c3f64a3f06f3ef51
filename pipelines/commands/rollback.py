"""``detpress rollback``: make the previous champion the champion again."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.commands.registry_command import named_registry, registry_parser
from pipelines.system.output import say
from stages.errors import ExitCode


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Make the champion's predecessor the champion again."""
    parser = registry_parser(
        "rollback", "Make the champion's predecessor the champion again: one move of MLflow's alias."
    )
    options = parser.parse_args(arguments)
    registry = named_registry(options)
    move = registry.rollback()
    say(f"{registry.name}: version {move.after} is the champion again, in place of version {move.before}")
    print(f"{registry.name}/{move.after}")
    return ExitCode.DONE
