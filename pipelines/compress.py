"""The compress pipeline: a config in, a measured INT8 detector and its report out."""

from __future__ import annotations

from collections.abc import Sequence

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import require_a_backend, user_model, with_labels
from pipelines.runs.observers import default_observers
from pipelines.runs.outcome import Outcome, exit_code
from pipelines.runs.reporting import reported, run_status, runner_for
from pipelines.runs.run import open_run
from pipelines.runs.tables import print_tables
from pipelines.system import provenance
from stages.errors import ConfigError, ExitCode


def run_compress(
    config: PipelineConfig, *, command: Sequence[str], observers: Sequence[Observer] | None = None
) -> Outcome:
    """Run every stage of a compression and write ``artifacts/runs/RUN_ID/report.json``.

    Raises:
        InputError: the user's input is wrong; nothing was measured.
        UnavailableError: none of the backends can run here.
    """
    require_a_backend(config)
    config = with_labels(config)
    source = user_model(config)
    threads = config.threads or provenance.available_cores()
    nodes = compress_graph(config, source, threads=threads)
    registers = config.registry.register
    if registers and not config.tracking.enabled:
        raise ConfigError(["registry.register: the registry is MLflow's; set tracking.enabled=true"])
    if observers is None:
        observers = default_observers(config, hand_over=not registers)
    with open_run(config, pipeline="compress", command=command, observers=observers) as run:
        runner = runner_for(config, run)
        runner.run(nodes, run.results)
        path, content = reported(config, run, runner, nodes)
        code = exit_code(run.results, content, require_all=config.run.require_all_backends)
        registers &= code in (ExitCode.DONE, ExitCode.GATE_FAILED)
        if registers:
            from pipelines.registry import register

            made = register.bundle(config, run, runner)
            images = register.described(config, run, runner)
        run.observer.run_finished(run_status(code), content, path.parent)
        print_tables(content)
    if registers:
        register.register(config, register.registry_of(config), run, made, source, [images] if images else [])
    return Outcome(code, path)
