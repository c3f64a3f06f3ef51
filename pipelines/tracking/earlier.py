"""What earlier runs could not tell MLflow: whichever run comes next says so, and sends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.config.options.tracking import TrackingOptions
from pipelines.system.redact import redact_text
from pipelines.tracking.client import connect, link_successor, store_uri, sweep
from pipelines.tracking.spool import Spool, leftovers, meant_for, unsent
from pipelines.tracking.writer import MlflowWriter

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient


def untold(runs: Path, store: str) -> list[str]:
    """What a sender in the background could not send, in a line for the user; nothing if all has arrived.

    Args:
        runs: the folder of run folders.
        store: the tracking URI as it may be shown; records for another one are not this run's to send.
    """
    left = {path: reason for path, reason in unsent(runs).items() if meant_for(path) in (store, None)}
    reasons = [reason for reason in left.values() if reason]
    if not reasons:
        return []
    newest = max(path.parent.name for path in left)
    which = f"the run {newest}" if len(left) == 1 else f"{len(left)} earlier runs (the newest: {newest})"
    return [
        f"MLflow at {store} does not have all of {which}: {reasons[-1]}. The events are kept, and are sent again now"
    ]


def send(spool: Spool, options: TrackingOptions, client: MlflowClient | None = None) -> None:
    """Apply all records of a spool; those that arrived before change nothing."""
    writer = MlflowWriter(client or connect(options), options, live=False)
    for record in spool.records():
        writer.apply(record)
    writer.flush()


def tidy(
    client: MlflowClient,
    options: TrackingOptions,
    runs: Path,
    run_id: str | None = None,
    resumed_from: str | None = None,
    *,
    told: bool = False,
) -> list[str]:
    """Send what earlier runs could not, and mark as KILLED those that died without a word; returns what went wrong.

    Args:
        runs: the folder of run folders.
        run_id: of the run that does this.
        resumed_from: id of the interrupted run that it continues.
        told: nobody hears what is returned: it is noted beside the records, for the next run to tell.
    """
    store = redact_text(store_uri(options))
    problems: list[str] = []
    for spool in leftovers(runs):
        delivered = False
        try:
            if meant_for(spool.path) not in (store, None):
                continue
            send(spool, options, client)
            delivered = True
        except Exception as error:  # an old run's records must not cost this run its own
            problems.append(f"the events in {spool.path} could not be sent to MLflow: {one_line(error)}")
            if told:
                spool.fail(one_line(error))
        finally:
            spool.close(delivered=delivered)
    sweep(client)
    if resumed_from and run_id:
        link_successor(client, resumed_from, run_id)
    return problems


def one_line(error: BaseException) -> str:
    """An error in a line, without secrets."""
    text = redact_text(str(error)).strip().partition("\n")[0]
    return f"{type(error).__name__}: {text[:300].rstrip('.')}"
