"""``detpress retrain``: look for what changed, compress anew, defend the champion, and say what came of it.

Nothing changed: the end, in seconds. Else the new images and labels are checked, the detector is trained on if that is
asked for, compressed, measured against the champion and promoted, or not. An interrupted one goes on from the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.graph.user_inputs import require_a_backend, user_model, with_labels
from pipelines.registry import register
from pipelines.registry.registry import Registry, Version
from pipelines.retraining import journal, snapshot
from pipelines.retraining.challenge import Verdict, challenge
from pipelines.retraining.journal import Outcome, run_and_record, to_stderr
from pipelines.retraining.state import State, days_since
from stages.champion import promotion
from stages.errors import ConfigError, ExitCode


def run_retrain(
    config: PipelineConfig, *, command: Sequence[str], debug: bool = False, observers: Sequence[Observer] | None = None
) -> tuple[int, Path]:
    """Retrain if there is a reason to; returns the exit code and the path of ``artifacts/retrain/last.json``.

    What goes wrong is told on standard error and written down as an outcome. An interruption is written down, its
    ``last.json`` printed, and passed on.
    """

    def work(outcome: Outcome) -> None:
        _attempt(config, outcome, command, observers)

    return run_and_record(Path(config.run.artifacts).resolve(), command, work, debug=debug)


def dry_run(config: PipelineConfig) -> int:
    """Print what changed; ``UNCHANGED`` if there is no reason to retrain."""
    config = _checked(config)
    registry = register.registry_of(config)
    state, now = _look(config)
    reasons = _reasons(config, state, now, registry.champion())
    for reason in reasons:
        print(reason)
    if not reasons:
        print(_nothing(state))
    return ExitCode.DONE if reasons else ExitCode.UNCHANGED


def _attempt(
    config: PipelineConfig, outcome: Outcome, command: Sequence[str], observers: Sequence[Observer] | None
) -> None:
    """Fill in ``outcome``."""
    config = _checked(config)
    registry = register.registry_of(config)
    champion = registry.champion()
    outcome.name, outcome.champion = registry.name, champion.number if champion else None
    state, now = _look(config)
    reasons = _reasons(config, state, now, champion)
    if not reasons:
        outcome.outcome, outcome.reason, outcome.exit_code = journal.UNCHANGED, _nothing(state), ExitCode.UNCHANGED
        return
    to_stderr(f"retraining: {snapshot.describe(reasons)}")
    outcome.more["changes"] = reasons
    verdict = challenge(config, registry, champion, state, now, outcome, command=command, observers=observers)
    _decide(config, registry, champion, verdict, outcome)
    state.consider(now, outcome.outcome, outcome.run_id)


def _decide(
    config: PipelineConfig, registry: Registry, champion: Version | None, verdict: Verdict, outcome: Outcome
) -> None:
    """Promote or keep, and say why."""
    evidence = verdict.evidence
    if verdict.version is None or evidence is None:
        outcome.outcome, outcome.exit_code = journal.UNCHANGED, ExitCode.UNCHANGED
        outcome.reason = f"the new engine is the champion's (version {outcome.champion}), bit for bit"
        return
    outcome.version = verdict.version.number
    said = promotion.verdict(evidence)
    if not evidence["passed"]:
        outcome.outcome, outcome.exit_code = journal.KEPT, ExitCode.GATE_FAILED
        outcome.reason = f"{said} {_stays(champion)}"
        outcome.more["failed_gates"] = evidence["failed"]
    elif not config.retrain.promote:
        outcome.outcome, outcome.exit_code = journal.KEPT, ExitCode.DONE
        outcome.reason = f"{said} retrain.promote=false: `detpress promote {outcome.version}` promotes it"
    else:
        registry.promote(verdict.version, over=outcome.champion)
        beside = f"takes the place of version {champion.number}" if champion else "is the first champion"
        outcome.outcome, outcome.exit_code = journal.PROMOTED, ExitCode.DONE
        outcome.reason, outcome.champion = f"{said} Version {outcome.version} {beside}", outcome.version


def _stays(champion: Version | None) -> str:
    return f"Version {champion.number} stays the champion" if champion else "There is no champion yet"


def _checked(config: PipelineConfig) -> PipelineConfig:
    if not config.tracking.enabled:
        raise ConfigError(["tracking.enabled: retraining keeps its champion in MLflow's registry; set it to true"])
    require_a_backend(config)
    return with_labels(config)


def _look(config: PipelineConfig) -> tuple[State, snapshot.Snapshot]:
    state = State(register.folder_of(config))
    before = (state.considered() or {}).get("snapshot") or state.accepted()
    return state, snapshot.snapshot(config, user_model(config), before)


def _reasons(config: PipelineConfig, state: State, now: snapshot.Snapshot, champion: Version | None) -> list[str]:
    before = state.considered()
    if before is None:
        return ["there is no retraining that came to an end yet"]
    found = snapshot.changed(before["snapshot"], now, config.retrain)
    if champion is None and before["outcome"] == journal.PROMOTED:
        found.append("the champion is gone from MLflow's registry")
    limit = config.retrain.watch.max_age_days
    if limit is not None and (age := days_since(before["at"])) > limit:
        found.append(f"the champion was last challenged {age:.1f} days ago (retrain.watch.max_age_days={limit:g})")
    return found


def _nothing(state: State) -> str:
    before = state.considered() or {}
    return f"no change since {before.get('at')} (run {before.get('run_id')}, {before.get('outcome')})"
