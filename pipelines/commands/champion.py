"""``detpress champion``: show the champion, the challenger and the promotion history."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict

from pipelines.commands.registry_command import named_registry, registry_parser
from pipelines.registry.registry import Version
from pipelines.system.times import local
from stages.errors import ExitCode


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Print them; with ``--json`` every version too."""
    parser = registry_parser(
        "champion", "The champion in MLflow's registry, the challenger, and every promotion and rollback."
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    registry = named_registry(options)
    champion, challenger = registry.champion(), registry.challenger()
    moves = registry.moves()
    if options.json:
        content = {
            "schema_version": 1,
            "name": registry.name,
            "champion": asdict(champion) if champion else None,
            "challenger": asdict(challenger) if challenger else None,
            "versions": [asdict(version) for version in registry.versions()],
            "moves": [asdict(move) for move in moves],
        }
        print(json.dumps(content, indent=1))
        return ExitCode.DONE
    print(f"{registry.name}: champion {_describe_version(champion)}; challenger {_describe_version(challenger)}")
    for move in moves:
        forced = ", forced" if move.forced else ""
        print(f"  {local(move.at)}  {move.action}{forced}: version {move.before or 'none'} -> {move.after}")
    return ExitCode.DONE


def _describe_version(version: Version | None) -> str:
    return "none" if version is None else f"version {version.number} (run {version.run_id})"
