"""How the pipeline itself runs (`run`)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RunOptions:
    """How the pipeline itself runs."""

    artifacts: str = "artifacts"
    """Folder of results, runs and checkpoints."""
    store: str | None = None
    """URI of a store that machines share, e.g. ``s3://BUCKET/PREFIX``: results are looked for in ``artifacts`` first,
    then there, and what is computed goes to both; ``None``: ``artifacts`` only."""
    stage_timeout: float | None = None
    """Seconds after which a stage is stopped and counts as failed; ``None``: no limit."""
    stage_retries: int = 0
    """How often a stage that crashed, failed or took too long is tried again, going on from its checkpoint."""
    require_all_backends: bool = False
    """Whether a listed backend that is unavailable on this machine fails the run; else its rows only say so."""
    reuse_latency: bool | None = None
    """Take timings from an earlier run with the same key: ``true`` always, ``false`` never, ``None`` where all of them
    were taken in one run on this machine since it started, and nothing before them has to be computed again."""
    timing_alone: str = "device"
    """What a timing has for itself: its ``device`` (no other timing there), or the ``host`` (no other stage of any run,
    which it waits for)."""
    locks: str | None = None
    """Folder of the locks for that, one for all runs of a host; ``None``: one in the temporary folder."""
