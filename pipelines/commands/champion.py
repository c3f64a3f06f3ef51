"""``detpress promote``, ``rollback`` and ``champion``: who stands in the registry, and how that changes by hand."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pipelines.config.load import reload
from pipelines.config.options.tracking import TrackingOptions
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.runner import Results
from pipelines.graph.user_inputs import user_model
from pipelines.registry import register
from pipelines.registry.champion import add_existing_result, fetch_champion
from pipelines.registry.registry import Registry, Version, names
from pipelines.retraining.challenge import judge
from pipelines.retraining.head_to_head import require_frozen
from pipelines.runs import history
from pipelines.runs.history import find_run
from pipelines.runs.observers import default_observers
from pipelines.runs.reporting import runner_for
from pipelines.runs.run import open_run
from pipelines.store.local import Store
from pipelines.system.locks import exclusive
from stages.artifacts import Artifact, LabeledSet
from stages.catalog import stage_entry
from stages.champion import promotion
from stages.errors import ConfigError, InputError

GATE_CODE = 3
_SETTABLE = ("gate.", "latency.", "accuracy.draws", "tracking.", "run.")


def promote(arguments: Sequence[str]) -> int:
    """Judge a run's engine beside the champion and promote it if every gate holds; 3 if one does not."""
    parser = _parser(
        "promote",
        "Measure a run's engine beside the champion, on the same images and alternately, and make it the champion of "
        "MLflow's registry if every gate holds. The evidence is attached to the version. Exit codes: 0 promoted, 3 a "
        "gate failed, 2 wrong input, 4 a stage or MLflow failed.",
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
    with exclusive(artifacts / "retrain" / "lock", lambda who: _to_stderr(f"{who} is retraining here; waiting for it")):
        return _promote(options, named[0], settings, artifacts)


def rollback(arguments: Sequence[str]) -> int:
    """Make the champion's predecessor the champion again."""
    parser = _parser("rollback", "Make the champion's predecessor the champion again: one move of MLflow's alias.")
    options = parser.parse_args(arguments)
    registry = _registry(options)
    move = registry.rollback()
    _to_stderr(f"{registry.name}: version {move.after} is the champion again, in place of version {move.before}")
    print(f"{registry.name}/{move.after}")
    return 0


def champion(arguments: Sequence[str]) -> int:
    """Show the champion, the challenger, every version, and how it came to that."""
    parser = _parser("champion", "The champion in MLflow's registry, the challenger, and every move of the alias.")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    options = parser.parse_args(arguments)
    registry = _registry(options)
    now, next_ = registry.champion(), registry.challenger()
    moves = registry.moves()
    if options.json:
        content = {
            "schema_version": 1,
            "name": registry.name,
            "champion": asdict(now) if now else None,
            "challenger": asdict(next_) if next_ else None,
            "versions": [asdict(version) for version in registry.versions()],
            "moves": [asdict(move) for move in moves],
        }
        print(json.dumps(content, indent=1))
        return 0
    print(f"{registry.name}: champion {_describe_version(now)}; challenger {_describe_version(next_)}")
    for move in moves:
        forced = ", forced" if move.forced else ""
        print(f"  {move.at}  {move.action}{forced}: version {move.before or 'none'} -> {move.after}")
    return 0


def _promote(options: argparse.Namespace, word: str, settings: list[str], artifacts: Path) -> int:
    registered: Version | None = None
    if (number := word.removeprefix("v")).isdigit():
        registry = _registry(options)
        registered = registry.version(number)
        if options.force:
            return _force(registry, registered)
        word = registered.run_id
        if not (artifacts / "runs" / word).is_dir():
            raise InputError(
                f"version {number} was made by run {word}, which is not under {artifacts / 'runs'}, so it cannot be "
                "measured here; --force promotes it without"
            )
    folder = find_run(word, artifacts).resolve()
    config = _config(folder, settings, options, artifacts)
    registry = register.registry_of(config)
    now = registry.champion()
    if now is not None and now.run_id == folder.name:
        raise InputError(f"run {folder.name} is the champion already (version {now.number})")
    command = ["detpress", "promote", word, *settings]
    observers = default_observers(config, hand_over=False)
    with open_run(config, pipeline="promote", command=command, observers=observers) as run:
        runner = runner_for(config, run)
        runner.store.prepare()
        _take(run.results, folder, runner.store)
        validation = run.results.artifacts.get(ids.LABELS_VAL)
        if isinstance(validation, LabeledSet):
            require_frozen(validation)
        made = register.bundle(config, run, runner, folder)
        images = register.described(config, run, runner)
        evidence = None
        if not options.force:
            there = fetch_champion(registry, now, artifacts) if now else None
            evidence = judge(config, run, runner, folder.name, there)
        run.save_state("FINISHED")
        summary = {"promotion": evidence or {"passed": True, "gates": []}}
        run.observer.run_finished("FINISHED", summary, run.info.run_dir)
    version = register.register(
        config, registry, run, made, _checkpoint(config), [images] if images else [], run_id=folder.name
    )
    if evidence is None:
        return _force(registry, version)
    _to_stderr(promotion.verdict(evidence))
    if evidence["passed"]:
        registry.promote(version, over=now.number if now else None)
        _to_stderr(f"{registry.name}: version {version.number} is the champion")
    else:
        _to_stderr(f"{registry.name}: version {version.number} stays the challenger")
    print(run.info.run_dir / "promotion.json")
    return 0 if evidence["passed"] else GATE_CODE


def _force(registry: Registry, version: Version) -> int:
    now = registry.champion()
    registry.promote(version, over=now.number if now else None, forced=True)
    _to_stderr(f"{registry.name}: version {version.number} is the champion, not judged (--force)")
    print(f"{registry.name}/{version.number}")
    return 0


def _take(results: Results, folder: Path, store: Store) -> None:
    """Let the results of the run in ``folder`` that a judgement needs stand among ``results``."""
    state = history.read_state(folder)
    if state is None:
        raise InputError(f"{folder} has no run.json; name a run that `detpress runs` lists")
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


def _registry(options: argparse.Namespace) -> Registry:
    """The registered model that ``--name`` names, or the only one."""
    artifacts = Path(options.artifacts).resolve()
    tracking = TrackingOptions(uri=options.uri, folder=str(artifacts / "mlflow"))
    if not options.uri and not (artifacts / "mlflow" / "mlflow.db").is_file():
        raise InputError(f"there is no MLflow store under {artifacts}; name its folder with --artifacts, or --uri")
    known = names(tracking)
    if options.name is None and len(known) != 1:
        text = "has no registered engine yet; `detpress retrain` makes one" if not known else "has several"
        raise InputError(f"MLflow's registry {text}{': choose with --name ' if known else ''}{', '.join(known)}")
    name = options.name or known[0]
    if name not in known:
        raise InputError(f"{name} is not in MLflow's registry; there is {', '.join(known) or 'none'}")
    return Registry(tracking, name, artifacts / "retrain" / name / "alias.lock")


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"detpress {name}", description=description)
    parser.add_argument("--name", help="the registered model, where there are several")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--uri", help="another MLflow store, as in tracking.uri (default: that under --artifacts)")
    return parser


def _describe_version(version: Version | None) -> str:
    return "none" if version is None else f"version {version.number} (run {version.run_id})"


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
