"""The finetune pipeline: train the FP32 detector alone and hand out its checkpoint."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.events import Observer
from pipelines.execution.paddle_python import require_paddle
from pipelines.graph.compress import finetune_nodes
from pipelines.graph.data import data_nodes
from pipelines.graph.user_inputs import threads_of, user_model, with_labels
from pipelines.graph.work import sized
from pipelines.runs.history import FINISHED
from pipelines.runs.outcome import Outcome
from pipelines.runs.reporting import runner_for, stop_on_failure
from pipelines.runs.run import open_run
from pipelines.runs.tables import WIDTH, stdout_console
from pipelines.runs.verdict import print_lines, print_next
from pipelines.system.files import copy_file, require_place
from pipelines.system.paths import shorten
from pipelines.system.times import span
from pipelines.system.units import size
from stages.artifacts import Checkpoint
from stages.errors import ExitCode
from stages.outside import names


def run_finetune(
    config: PipelineConfig,
    out: str | None = None,
    *,
    command: Sequence[str],
    observers: Sequence[Observer] | None = None,
) -> Outcome:
    """Train only, and copy the checkpoint to ``out`` (default: the run's folder).

    Raises:
        DetpressError: what stopped a stage.
    """
    if out is not None:
        require_place(Path(out), "out=FILE")
    require_paddle(config.run.paddle_python)
    config = with_labels(config)
    model = user_model(config)
    nodes = [node for node in data_nodes(config) if node.id != ids.IMAGES]
    nodes += sized(finetune_nodes(config, model, threads=threads_of(config)), config.model)
    with open_run(config, pipeline="finetune", command=command, observers=observers) as run:
        runner = runner_for(config, run)
        runner.announce(nodes)
        runner.run(nodes, run.results)
        stop_on_failure(run)
        checkpoint = run.results.artifacts[ids.FINETUNE]
        assert isinstance(checkpoint, Checkpoint)
        target = Path(out) if out else names.inside(run.info.run_dir, checkpoint.weights, checkpoint.root, "weights")
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(checkpoint.path(checkpoint.weights), target)
        run.finish(FINISHED, {"checkpoint": str(target)})
    console = stdout_console(WIDTH)
    trained = f"Trained {config.model.name} for {config.finetune.steps} steps in {span(run.seconds)}"
    print_lines([f"{trained}: {size(target.stat().st_size)} of weights."], console)
    words = f"model={shlex.quote(config.model.name)} model.weights={shlex.quote(shorten(str(target)))}"
    data = [word for word in command if word.partition("=")[0].partition(".")[0] == "data"]
    print_next([(f"detpress compress {words} {shlex.join(data)}".rstrip(), "quantize and measure it")], console)
    return Outcome(ExitCode.DONE, target)
