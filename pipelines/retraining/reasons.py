"""Whether there is a reason to retrain: what changed since the last retraining that came to a verdict."""

from __future__ import annotations

from pipelines.config.schema import PipelineConfig
from pipelines.graph.user_inputs import user_model
from pipelines.registry import register
from pipelines.registry.registry import Version
from pipelines.retraining import journal, snapshot
from pipelines.retraining.snapshot import Snapshot
from pipelines.retraining.state import State, days_since
from pipelines.system.times import local


def look(config: PipelineConfig) -> tuple[State, Snapshot]:
    """What is remembered of the registered model, and how things stand now."""
    state = State(register.folder_of(config))
    before = (state.considered() or {}).get("snapshot") or state.accepted()
    return state, snapshot.snapshot(config, user_model(config), before)


def reasons(config: PipelineConfig, state: State, current: Snapshot, champion: Version | None) -> list[str]:
    """Each reason to retrain as a sentence; empty if there is none."""
    before = state.considered()
    if before is None:
        return ["there is no retraining that came to an end yet"]
    changes = snapshot.changed(before["snapshot"], current, config.retrain)
    if champion is None and before["outcome"] == journal.PROMOTED:
        changes.append("the champion is gone from MLflow's registry")
    limit = config.retrain.watch.max_age_days
    if limit is not None and (age := days_since(before["at"])) > limit:
        changes.append(f"the champion was last challenged {age:.1f} days ago (retrain.watch.max_age_days={limit:g})")
    return changes


def no_reason(state: State) -> str:
    """Since when nothing has changed, in words."""
    before = state.considered() or {}
    return f"no change since {local(before.get('at'))} (run {before.get('run_id')}, {before.get('outcome')})"
