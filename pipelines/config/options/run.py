"""How the pipeline itself runs (`run`)."""

from __future__ import annotations

from dataclasses import dataclass

from stages.options.rules import COUNT, NOT_EMPTY, Rule, one_of, option, seconds
from stages.processes.device import AUTO, is_device

DEVICE = Rule(is_device, "it must be auto, cpu, gpu or gpu:N", names=lambda: (AUTO, "cpu", "gpu"))


@dataclass
class RunOptions:
    """How the pipeline itself runs."""

    artifacts: str = option("artifacts", doc="folder of results, runs and checkpoints")
    store: str | None = option(
        None,
        doc="URI of a store that machines share, e.g. `s3://BUCKET/PREFIX`: results are looked for in `artifacts` "
        "first, then there, and what is computed goes to both; null: `artifacts` only",
    )
    device: str = option(
        AUTO,
        DEVICE,
        "where finetuning, distillation, ranges and scores are computed: `cpu`, `gpu` (the first), `gpu:N`, or `auto`: "
        "a GPU if there is one and Paddle was built for it. Engines run where their backend says",
    )
    stage_timeout: float | None = option(
        None, seconds(more=True), "seconds after which a stage is stopped and counts as failed; null: no limit"
    )
    stage_retries: int = option(
        0,
        COUNT,
        "how often a stage that crashed, failed or took too long is tried again, continuing from its checkpoint",
    )
    paddle_python: str | None = option(
        None,
        NOT_EMPTY,
        "the Python that the run's stages run on, e.g. `.venv/bin/python`: one with Paddle; detpress need not be "
        "installed there. null: the command's own if it has Paddle, else one that is found here (this checkout's "
        "`.venv`, on the PATH, pyenv's, uv's)",
    )
    require_all_backends: bool = option(
        False, doc="fail the run if a listed backend is unavailable on this machine; false: its rows only say so"
    )
    reuse_latency: bool | None = option(
        None,
        doc="take timings from an earlier run with the same key: true always, false never, null where all of them were "
        "taken in one run on this machine since it booted, nothing disturbed them, and nothing before them has to be "
        "computed again",
    )
    timing_alone: str = option(
        "device",
        one_of("device", "host"),
        "what a timing has for itself: `device`: no other timing on its device; `host`: no other stage of any run, "
        "which it waits for",
    )
    locks: str | None = option(
        None, doc="folder of the locks for that, one for all runs of a host; null: one in the temporary folder"
    )
