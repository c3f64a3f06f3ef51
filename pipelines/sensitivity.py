"""``detpress sensitivity``: a compression up to its INT8 model, then what each block of it costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipelines.config.auto import block_backend
from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.graph.compress import sensitivity_graph
from pipelines.graph.user_inputs import user_model, with_labels
from pipelines.runs.outcome import Outcome, first_failure
from pipelines.runs.reporting import runner_for
from pipelines.runs.run import open_run
from pipelines.runs.tables import LOG_WIDTH, print_table
from pipelines.system import provenance
from pipelines.system.files import write_text
from stages import backends
from stages.backends.base import Unavailable
from stages.errors import ConfigError, ExitCode, UnavailableError
from stages.report.schema_blocks import SensitivityContent
from stages.report.sensitivity import explained, table

FILES = ("sensitivity.json", "sensitivity.md", "sensitivity.png")


def run_sensitivity(
    config: PipelineConfig, *, command: Sequence[str], observers: Sequence[Observer] | None = None
) -> Outcome:
    """Run the analysis and put its files into the run's folder; the outcome's path is ``sensitivity.json``.

    Raises:
        ConfigError: nothing is quantized.
        UnavailableError: the backend that is measured cannot run here.
        DetpressError: what stopped a stage.
    """
    if config.compression.method == "none":
        raise ConfigError(["compression=none quantizes nothing; choose compression=ptq or compression=qat_distill"])
    state = backends.get(block_backend(config)).availability()
    if isinstance(state, Unavailable):
        raise UnavailableError(f"backend {block_backend(config)} is unavailable: {state}")
    config = with_labels(config)
    source = user_model(config)
    nodes = sensitivity_graph(config, source, threads=config.threads or provenance.available_cores())
    with open_run(config, pipeline="sensitivity", command=command, observers=observers) as run:
        results = runner_for(config, run).run(nodes, run.results)
        failure = first_failure(results)
        if failure is not None:
            run.save_state("FAILED")
            raise failure
        run.save_state("FINISHED")
        made = results.artifacts["sensitivity"]
        for name in FILES:
            target = run.info.run_dir / name
            if target.suffix == ".png":
                target.write_bytes(made.path(name).read_bytes())
            else:
                write_text(target, made.path(name).read_text(encoding="utf-8"))
        content: SensitivityContent = json.loads(made.path(FILES[0]).read_text(encoding="utf-8"))
        run.observer.run_finished("FINISHED", content, None)
        _print(content)
        return Outcome(ExitCode.DONE, Path(run.info.run_dir / FILES[0]))


def _print(content: SensitivityContent) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = LOG_WIDTH
    print_table(table(content), console)
    console.print(explained(content), soft_wrap=True, markup=False)
