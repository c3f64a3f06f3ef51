"""The compress pipeline: a config in, a measured INT8 detector and its report out."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config.schema import PipelineConfig
from pipelines.config.variants import variants_of
from pipelines.execution import ids
from pipelines.execution.events import Observer
from pipelines.execution.runner import Node, Runner
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import require_a_backend, threads_of, user_model, with_labels
from pipelines.registry import register
from pipelines.runs import trial
from pipelines.runs.history import FINISHED
from pipelines.runs.observers import default_observers
from pipelines.runs.outcome import Outcome, exit_code
from pipelines.runs.reporting import reported, run_status, runner_for
from pipelines.runs.retiming import repeat_hint
from pipelines.runs.run import Run, open_run
from pipelines.runs.tables import print_tables
from pipelines.runs.verdict import print_verdict
from pipelines.system.output import say, verbose
from stages.errors import ConfigError


def run_compress(
    config: PipelineConfig,
    *,
    command: Sequence[str],
    observers: Sequence[Observer] | None = None,
    asked: trial.Asked | None = None,
) -> Outcome:
    """Run every stage of a compression and write ``artifacts/runs/RUN_ID/report.json``.

    Args:
        asked: what a search asks of the run, if it is a trial of one.

    Raises:
        InputError: the user's input is wrong; nothing was measured.
        UnavailableError: none of the backends can run here.
        LimitBroken: a trial broke a limit of its search; there is no report.
    """
    require_a_backend(config)
    config = with_labels(config)
    model = user_model(config)
    nodes = compress_graph(config, model, threads=threads_of(config))
    registers = config.registry.register
    if registers and not config.tracking.enabled:
        raise ConfigError(["registry.register: the registry is MLflow's; set tracking.enabled=true"])
    if observers is None:
        observers = default_observers(config, hand_over=not registers)
    with open_run(config, pipeline="compress", command=command, observers=observers) as run:
        runner = runner_for(config, run)
        if asked is not None:
            nodes = trial.cheapest_first(nodes, asked)
        runner.announce(nodes, ids.REPORT)
        if asked is None:
            runner.run(nodes, run.results)
        else:
            _tried(config, nodes, runner, run, asked)
        path, report = reported(config, run, runner, nodes)
        code = exit_code(run.results, report, require_all=config.run.require_all_backends)
        status = run_status(code)
        candidate = register.candidate(config, run, runner) if registers and status == FINISHED else None
        run.finish(status, report, path.parent)
    if verbose():
        print_tables(report)
    print_verdict(report, path.parent, run.seconds)
    if hint := repeat_hint(run.results, command, reused=config.run.reuse_latency is True):
        say(hint)
    if candidate is not None:  # now that MLflow has the whole run
        register.register(config, register.registry_of(config), run, candidate, model)
    return Outcome(code, path)


def _tried(config: PipelineConfig, nodes: Sequence[Node], runner: Runner, run: Run, asked: trial.Asked) -> None:
    """Run the nodes until a limit is broken. Raises LimitBroken then."""
    watch = trial.Watch(asked, {name: [str(v) for v in variants_of(config, name).variants] for name in config.backend})
    runner.run(nodes, run.results, until=watch)
    if watch.broken:
        raise trial.LimitBroken(watch.broken, run.info.run_id, watch.values)
