"""``detpress size``: which model and input size reach a latency on this machine, with random weights, before training.

Each candidate goes the way of a compression up to the times of its engine: export, ranges on drawn images, build. No
label is looked at and nothing is scored. Results are kept in the store as ever, so that a second question about the
same engines costs their timing at most.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.events import Observer
from pipelines.execution.node import Node
from pipelines.execution.results import Results
from pipelines.graph.compress import compress_graph
from pipelines.graph.sizes import Candidate, Search, Timing
from pipelines.graph.user_inputs import require_backend, threads_of, user_model, with_labels
from pipelines.runs.history import FINISHED
from pipelines.runs.reporting import runner_for, stop_on_failure
from pipelines.runs.run import Run, open_run
from pipelines.system.output import say
from stages.outside import records
from stages.report.schema_engines import LatencyContent

Compose = Callable[[Candidate], PipelineConfig]
"""The config of a candidate's compression."""


@dataclass(frozen=True)
class Target:
    """What is asked for: the median of Runtime (or End2End), in milliseconds, of one engine."""

    latency_ms: float
    backend: str = "onnxruntime"
    precision: str = "int8"
    mode: str = "runtime"
    most: int = 8
    """Engines that are built and timed at most."""


def run_size(
    target: Target,
    candidates: list[Candidate],
    compose: Compose,
    *,
    command: Sequence[str],
    observers: Sequence[Observer] | None = None,
) -> Search:
    """Look for the largest candidate that reaches the target.

    Raises:
        UnavailableError: the backend cannot run here.
        DetpressError: what stopped a stage.
    """
    search = Search(candidates, target.latency_ms)
    first = compose(candidates[0])
    require_backend(first, target.backend)
    with open_run(first, pipeline="size", command=command, observers=observers) as run:

        def measure(candidate: Candidate) -> Timing:
            say(f"{candidate.model} at {candidate.side} x {candidate.side}:")
            return _timed(run, with_labels(compose(candidate)), target)

        search.run(measure, target.most)
        run.finish(FINISHED, {})
    return search


def _timed(run: Run, config: PipelineConfig, target: Target) -> Timing:
    """Build a candidate's engine and time it."""
    nodes = only_for(
        ids.latency(target.backend), compress_graph(config, user_model(config), threads=threads_of(config))
    )
    run.results = Results()  # each candidate has nodes of the same names
    runner_for(config, run).run(nodes, run.results)
    stop_on_failure(run)
    result = run.results.artifacts[ids.latency(target.backend)]
    content: LatencyContent = records.read(result.path("latency.json"), LatencyContent, lenient=True)
    found = content["engines"][target.precision]
    timing = found["runtime"] if target.mode == "runtime" else found["end2end"]
    return Timing(timing["median_ms"], timing["validity"]["verdict"])


def only_for(name: str, nodes: Sequence[Node]) -> list[Node]:
    """The node of that id and what it needs, in their order."""
    needed = {name}
    for node in reversed(nodes):
        if node.id in needed:
            needed |= set(node.upstream())
    return [node for node in nodes if node.id in needed]
