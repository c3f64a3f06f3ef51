"""The retrain pipeline: if something changed, compress anew, compare with the champion, and promote or keep.

Without a change it ends in seconds. Else the new images and labels are checked, the detector is trained further if that
is asked for, compressed, measured against the champion and promoted, or not. An interrupted one continues from the
store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.graph.user_inputs import require_a_backend, with_labels
from pipelines.registry import register
from pipelines.registry.registry import Registry, Version
from pipelines.retraining import journal
from pipelines.retraining.challenge import Verdict, challenge, measure_again
from pipelines.retraining.journal import Outcome, run_and_record
from pipelines.retraining.reasons import look, no_reason, reasons
from pipelines.retraining.snapshot import describe
from pipelines.system.output import say
from pipelines.tracking.delivery import send_earlier
from stages.champion import promotion
from stages.errors import ConfigError, ExitCode


def run_retrain(
    config: PipelineConfig,
    *,
    command: Sequence[str],
    debug: bool = False,
    observers: Sequence[Observer] | None = None,
    on_error: Callable[[Exception], object] | None = None,
) -> tuple[int, Path]:
    """Retrain if there is a reason to; returns the exit code and the path of ``artifacts/retrain/last.json``.

    An error is recorded as an outcome, and printed on standard error or handed to ``on_error``. An interruption is
    recorded, its ``last.json`` printed, and passed on.
    """

    def work(outcome: Outcome) -> None:
        _retrain(config, outcome, command, observers)

    return run_and_record(Path(config.run.artifacts).resolve(), command, work, debug=debug, on_error=on_error)


def dry_run(config: PipelineConfig) -> int:
    """Print what changed; ``UNCHANGED`` if there is no reason to retrain."""
    config = _checked(config)
    state, current = look(config)
    changes = reasons(config, state, current, register.registry_of(config).champion())
    for line in changes or [no_reason(state)]:
        print(line)
    return ExitCode.DONE if changes else ExitCode.UNCHANGED


def _retrain(
    config: PipelineConfig, outcome: Outcome, command: Sequence[str], observers: Sequence[Observer] | None
) -> None:
    """Fill in ``outcome``, as far as it gets."""
    config = _checked(config)
    registry = register.registry_of(config)
    champion = registry.champion()
    outcome.name, outcome.champion = registry.name, champion.number if champion else None
    state, current = look(config)
    changes = reasons(config, state, current, champion)
    if not changes:
        for problem in send_earlier(Path(config.run.artifacts).resolve() / "runs", config.tracking):
            say(f"warning: {problem}")
        outcome.end(journal.UNCHANGED, no_reason(state), ExitCode.UNCHANGED)
        return
    say(f"retraining: {describe(changes)}")
    outcome.more["changes"] = changes
    verdict = challenge(config, registry, champion, state, current, outcome, command=command, observers=observers)
    _decide(config, registry, champion, verdict, outcome)
    if verdict.evidence is None or not promotion.disturbed(verdict.evidence):
        state.consider(current, outcome.outcome, outcome.run_id)  # else the next one measures again


def _checked(config: PipelineConfig) -> PipelineConfig:
    if not config.tracking.enabled:
        raise ConfigError(["tracking.enabled: retraining keeps its champion in MLflow's registry; set it to true"])
    require_a_backend(config)
    return with_labels(config)


def _decide(
    config: PipelineConfig, registry: Registry, champion: Version | None, verdict: Verdict, outcome: Outcome
) -> None:
    """Promote or keep, and say why."""
    evidence = verdict.evidence
    if verdict.version is None or evidence is None:
        same = f"the new engine is the champion's (version {outcome.champion}), bit for bit"
        outcome.end(journal.UNCHANGED, same, ExitCode.UNCHANGED)
        return
    outcome.version = verdict.version.number
    judgement = promotion.verdict(evidence)
    if not evidence["passed"]:
        outcome.more["failed_gates"] = evidence["failed"]
        outcome.more |= {name: found for name in ("undecided", "not_judged") if (found := evidence.get(name))}
        stays = f"Version {champion.number} stays the champion" if champion else "There is no champion yet"
        if promotion.disturbed(evidence):
            stays += f"; {measure_again(outcome.version)}, and so does the next retraining"
        outcome.end(journal.KEPT, f"{judgement} {stays}", ExitCode.GATE_FAILED)
    elif not config.retrain.promote:
        hint = f"retrain.promote=false: `detpress promote {outcome.version}` promotes it"
        outcome.end(journal.KEPT, f"{judgement} {hint}", ExitCode.DONE)
    else:
        registry.promote(verdict.version, over=outcome.champion)
        beside = f"takes the place of version {champion.number}" if champion else "is the first champion"
        outcome.champion = outcome.version
        outcome.end(journal.PROMOTED, f"{judgement} Version {outcome.version} {beside}", ExitCode.DONE)
