"""The sensitivity pipeline: a compression up to its INT8 model, then what each block of it costs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from pipelines.config.auto import block_backend
from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.events import Observer
from pipelines.graph.compress import sensitivity_graph
from pipelines.graph.user_inputs import require_backend, threads_of, user_model, with_labels
from pipelines.runs.history import FINISHED
from pipelines.runs.outcome import Outcome
from pipelines.runs.reporting import runner_for, stop_on_failure
from pipelines.runs.run import open_run
from pipelines.runs.tables import WIDTH, print_sensitivity, stdout_console
from pipelines.runs.verdict import print_lines, print_next
from pipelines.system.files import copy_file
from pipelines.system.times import span
from stages.errors import ConfigError, ExitCode
from stages.report.schema_blocks import SensitivityContent
from stages.report.sensitivity import costly

CONTENT = "sensitivity.json"
FILES = (CONTENT, "sensitivity.md", "sensitivity.png")


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
    require_backend(config, block_backend(config))
    config = with_labels(config)
    nodes = sensitivity_graph(config, user_model(config), threads=threads_of(config))
    with open_run(config, pipeline="sensitivity", command=command, observers=observers) as run:
        runner = runner_for(config, run)
        runner.announce(nodes)
        runner.run(nodes, run.results)
        stop_on_failure(run)
        analysis = run.results.artifacts[ids.SENSITIVITY]
        for name in FILES:
            copy_file(analysis.path(name), run.info.run_dir / name)
        content: SensitivityContent = json.loads(analysis.path(CONTENT).read_text(encoding="utf-8"))
        run.finish(FINISHED, content)
    print_sensitivity(content)
    console = stdout_console(WIDTH)
    print_lines([costly(content), f"The run took {span(run.seconds)}."], console)
    again = shlex.join(["detpress", "compress", *command[2:], "compression.max_map_drop=0.5"])
    print_next([(again, "keep in float what it takes to lose less than half a point of mAP")], console)
    return Outcome(ExitCode.DONE, run.info.run_dir / CONTENT)
