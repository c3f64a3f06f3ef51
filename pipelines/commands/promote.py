"""``detpress promote``: make a run's engine the champion if every gate passes, or one by hand with ``--force``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipelines.commands.registry_command import named_registry, registry_parser
from pipelines.config.load import reload
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.runner import Results
from pipelines.graph.user_inputs import user_model
from pipelines.registry import register
from pipelines.registry.champion import add_existing_result, fetch_champion, require_usable
from pipelines.registry.registry import Registry, Version
from pipelines.retraining.challenge import judge, measure_again
from pipelines.retraining.head_to_head import require_frozen
from pipelines.runs import history
from pipelines.runs.history import find_run
from pipelines.runs.observers import default_observers
from pipelines.runs.remembered import require_state
from pipelines.runs.reporting import runner_for
from pipelines.runs.run import open_run
from pipelines.runs.verdict import print_next
from pipelines.store.local import Store
from pipelines.system.locks import signed
from pipelines.system.output import say
from stages.artifacts import Artifact, LabeledSet
from stages.catalog import stage_entry
from stages.champion import promotion
from stages.errors import ConfigError, ExitCode, InputError
from stages.outside import names

_SETTABLE = ("gate.", "latency.", "accuracy.draws", "tracking.", "run.")


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Judge a run's engine beside the champion and promote it if every gate passes; ``GATE_FAILED`` if one does not."""
    parser = registry_parser(
        "promote",
        "Measure a run's engine beside the champion, on the same images and alternately, and make it the champion of "
        "MLflow's registry if every gate holds. The evidence is attached to the version. Exit codes: 0 promoted, 3 a "
        "gate failed, is undecided or could not be judged, 2 wrong input, 4 a stage or MLflow failed.",
    )
    parser.add_argument("words", nargs="*", metavar="RUN|VERSION|KEY=VALUE",
                        help="a run (default: latest), or the number of a version; gate.KEY=VALUE")  # fmt: skip
    parser.add_argument("--force", action="store_true", help="promote without judging; the history says so")
    options = parser.parse_args(arguments)
    settings = [word for word in options.words if "=" in word]
    named = [word for word in options.words if "=" not in word] or ["latest"]
    if len(named) > 1 or (wrong := [s for s in settings if not s.startswith(_SETTABLE)]):
        extra = named[1] if len(named) > 1 else wrong[0]
        raise InputError(f"{extra}: not understood; name one run or version, and gate.KEY=VALUE")
    artifacts = Path(options.artifacts).resolve()
    with signed(artifacts / "retrain" / "lock", lambda who: say(f"{who} is retraining here; waiting for it")):
        return _promote(options, named[0], settings, artifacts)


def _promote(options: argparse.Namespace, word: str, settings: list[str], artifacts: Path) -> int:
    registered: Version | None = None
    # Four digits may be the end of a run's id, as `detpress runs` shows it; v1234 is a version in any case.
    if (number := word.removeprefix("v")).isdigit() and not (word == number and history.ending_in(word, artifacts)):
        registry = named_registry(options)
        registered = registry.version(number)
        if options.force:
            return _force(registry, registered)
        word = registered.run_id
        names.part(word, f"{registry.name} version {number} in MLflow", "the tag run_id")
        if not names.inside(artifacts / "runs", word, "MLflow", "the tag run_id").is_dir():
            raise InputError(
                f"version {number} was made by run {word}, which is not under {artifacts / 'runs'}, so it cannot be "
                "measured here; --force promotes it without"
            )
    folder = find_run(word, artifacts).resolve()
    config = _config(folder, settings, options, artifacts)
    registry = register.registry_of(config)
    champion = registry.champion()
    if champion is not None and champion.run_id == folder.name:
        raise InputError(f"run {folder.name} is the champion already (version {champion.number})")
    command = ["detpress", "promote", word, *settings]
    observers = default_observers(config, hand_over=False)
    with open_run(config, pipeline="promote", command=command, observers=observers) as run:
        runner = runner_for(config, run)
        runner.store.prepare()
        _reuse_results(run.results, folder, runner.store)
        validation = run.results.artifacts.get(ids.LABELS_VAL)
        if isinstance(validation, LabeledSet):
            require_frozen(validation)
        candidate = register.candidate(config, run, runner, folder)
        evidence = None
        if not options.force:
            champion_engine = fetch_champion(registry, champion, artifacts) if champion else None
            if champion_engine is not None:
                require_usable(registry, champion_engine, runner.settings.python)
            evidence = judge(config, run, runner, folder.name, champion_engine)
        summary = {"promotion": evidence or {"passed": True, "gates": []}}
        run.finish("FINISHED", summary, run.info.run_dir)
    version = register.register(config, registry, run, candidate, _checkpoint(config), run_id=folder.name)
    if evidence is None:
        return _force(registry, version)
    if evidence["passed"]:
        registry.promote(version, over=champion.number if champion else None)
    say(promotion.verdict(evidence))
    becomes = "is the champion" if evidence["passed"] else "stays the challenger"
    say(f"{registry.name}: version {version.number} {becomes}")
    if promotion.disturbed(evidence):
        say(f"when the machine is quieter, {measure_again(version.number)}")
    print_next([("detpress champion", "the champion and how it came to be")], page=run.info.run_dir / "promotion.md")
    print(run.info.run_dir / "promotion.json")
    return ExitCode.DONE if evidence["passed"] else ExitCode.GATE_FAILED


def _force(registry: Registry, version: Version) -> int:
    champion = registry.champion()
    registry.promote(version, over=champion.number if champion else None, forced=True)
    say(f"{registry.name}: version {version.number} is the champion, not judged (--force)")
    print(f"{registry.name}/{version.number}")
    return ExitCode.DONE


def _reuse_results(results: Results, folder: Path, store: Store) -> None:
    """Add what a judgement needs of the run in ``folder`` to ``results``."""
    state = require_state(folder, "stages")
    for name, stage in state["stages"].items():
        made_by = ids.stage_of(name)
        judged = made_by is not None and stage_entry(made_by).judged
        if stage.get("entry") and judged and name != ids.LABELS_TRAIN:  # nothing is scored on those
            add_existing_result(results, name, store.load(stage["entry"]))


def _config(folder: Path, settings: list[str], options: argparse.Namespace, artifacts: Path) -> PipelineConfig:
    """The run's config, with what the command line says."""
    config = reload(folder / "config.yaml", settings)
    config.run.artifacts = str(artifacts)
    if options.uri:
        config.tracking.uri = options.uri
    if config.tracking.uri and "***" in config.tracking.uri:
        raise ConfigError(["tracking.uri of the run had a password, which is not kept; give it with --uri"])
    if options.name:
        config.registry.name = options.name
    if not config.tracking.enabled:
        raise ConfigError(["tracking.enabled: the run was not tracked, and the registry is MLflow's"])
    return config


def _checkpoint(config: PipelineConfig) -> Artifact | None:
    """The weights that the run started from, if they are still there."""
    if config.model.weights and "://" not in config.model.weights and not Path(config.model.weights).is_file():
        return None
    return user_model(config)
