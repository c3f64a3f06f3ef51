"""``detpress retrain``: look for what changed, compress anew, defend the champion, and say what came of it.

Nothing changed: the end, in seconds. Else the new images and labels are checked, the detector is trained on if that is
asked for, compressed, measured against the champion and promoted, or not. An interrupted one goes on from the store.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipelines import retrain_journal as journal
from pipelines import watching
from pipelines.compress import require_a_backend, run_compress, user_model, with_labels
from pipelines.events import Observer
from pipelines.failures import tell
from pipelines.locking import exclusive
from pipelines.redact import redact, redact_text
from pipelines.retrain_journal import Journal, Outcome
from pipelines.retrain_state import State, days_since
from pipelines.schema import PipelineConfig
from stages.errors import ConfigError, DetpressError

UNCHANGED_CODE = 5


def run_retrain(
    config: PipelineConfig, *, command: Sequence[str], debug: bool = False, observers: Sequence[Observer] | None = None
) -> tuple[int, Path]:
    """Retrain if there is a reason to; returns the exit code and the path of ``artifacts/retrain/last.json``.

    What goes wrong is told on standard error and written down as an outcome. An interruption is written down, its
    ``last.json`` printed, and passed on.
    """

    def work(outcome: Outcome) -> None:
        _attempt(config, outcome, command, observers)

    return recorded(Path(config.run.artifacts).resolve(), command, work, debug=debug)


def recorded(
    artifacts: Path, command: Sequence[str], work: Callable[[Outcome], None], *, debug: bool = False
) -> tuple[int, Path]:
    """Do ``work`` under the lock of the retraining, and write down what came of it, whatever that is."""
    log, said = Journal(artifacts), shlex.join(redact(list(command)))
    with exclusive(log.folder / "lock", lambda who: _say(f"{who} is retraining here; waiting for it")):
        outcome = Outcome(journal.FAILED, "", 4, command=said, started=log.begin(said))
        try:
            work(outcome)
        except Exception as error:
            code = tell(error, debug=debug)
            outcome.outcome = journal.REFUSED if code == 2 else journal.FAILED
            outcome.reason, outcome.exit_code = redact_text(str(error).strip() or type(error).__name__), code
        except BaseException as stop:
            code = stop.code if isinstance(stop, SystemExit) and isinstance(stop.code, int) else 130
            outcome.outcome, outcome.exit_code = journal.INTERRUPTED, code
            outcome.reason = "it was stopped; the same command goes on from what it had finished"
            print(log.write(outcome), flush=True)
            raise
        else:
            _say(f"{outcome.outcome}: {outcome.reason}")
        return outcome.exit_code, log.write(outcome)


def dry_run(config: PipelineConfig) -> int:
    """Print what changed; 0 if there is a reason to retrain, 5 if there is none."""
    config = _checked(config)
    state, now = _look(config)
    reasons = _reasons(config, state, now)
    for reason in reasons:
        print(reason)
    if not reasons:
        print(_nothing(state))
    return 0 if reasons else UNCHANGED_CODE


def _checked(config: PipelineConfig) -> PipelineConfig:
    if not config.tracking.enabled:
        raise ConfigError(["tracking.enabled: retraining keeps its champion in MLflow's registry; set it to true"])
    require_a_backend(config)
    return with_labels(config)


def _look(config: PipelineConfig) -> tuple[State, watching.Snapshot]:
    artifacts = Path(config.run.artifacts).resolve()
    state = State(artifacts / "retrain" / (config.registry.name or config.model.name))
    before = (state.considered() or {}).get("snapshot") or state.accepted()
    return state, watching.snapshot(config, user_model(config), before)


def _reasons(config: PipelineConfig, state: State, now: watching.Snapshot) -> list[str]:
    before = state.considered()
    if before is None:
        return ["there is no retraining that came to an end yet"]
    found = watching.changed(before["snapshot"], now, config.retrain)
    limit = config.retrain.watch.max_age_days
    if limit is not None and (age := days_since(before["at"])) > limit:
        found.append(f"the last look at the champion is {age:.1f} days old (retrain.watch.max_age_days={limit:g})")
    return found


def _nothing(state: State) -> str:
    before = state.considered() or {}
    return f"no change since {before.get('at')} ({before.get('run_id')}, {before.get('outcome')})"


def _attempt(
    config: PipelineConfig, outcome: Outcome, command: Sequence[str], observers: Sequence[Observer] | None
) -> None:
    config = _checked(config)
    state, now = _look(config)
    reasons = _reasons(config, state, now)
    if not reasons:
        outcome.outcome, outcome.reason, outcome.exit_code = journal.UNCHANGED, _nothing(state), UNCHANGED_CODE
        return
    _say(f"retraining: {watching.describe(reasons)}")
    outcome.more["changes"] = reasons
    made = run_compress(config, command=command, observers=observers)
    outcome.run_id = made.path.parent.name if made.path else None
    outcome.exit_code = made.exit_code
    if made.exit_code == 0:
        outcome.outcome, outcome.reason = journal.PROMOTED, "every gate holds"
    elif made.exit_code == 3:
        outcome.outcome, outcome.reason = journal.KEPT, "a gate failed"
    else:
        raise DetpressError("a stage failed; see the report")
    state.consider(now, outcome.outcome, outcome.run_id)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
