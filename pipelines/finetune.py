"""The finetune pipeline: train the FP32 detector alone and hand out its checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.execution.events import Observer
from pipelines.graph.compress import data_nodes, finetune_nodes
from pipelines.graph.user_inputs import user_model, with_labels
from pipelines.runs.outcome import Outcome
from pipelines.runs.reporting import runner_for
from pipelines.runs.run import open_run
from pipelines.system import provenance
from stages.artifacts import Checkpoint
from stages.errors import ExitCode


def run_finetune(
    config: PipelineConfig,
    out: str | None = None,
    *,
    command: Sequence[str],
    observers: Sequence[Observer] | None = None,
) -> Outcome:
    """Train only, and copy the checkpoint to ``out`` (default: the run's folder)."""
    config = with_labels(config)
    source = user_model(config)
    threads = config.threads or provenance.available_cores()
    nodes = [n for n in data_nodes(config) if n.id != "images.unlabeled"]
    nodes += finetune_nodes(config, source, threads=threads)
    with open_run(config, pipeline="finetune", command=command, observers=observers) as run:
        results = runner_for(config, run).run(nodes, run.results)
        if results.failures:
            run.save_state("FAILED")
            raise next(iter(results.failures.values()))
        run.save_state("FINISHED")
        checkpoint = results.artifacts["finetune"]
        assert isinstance(checkpoint, Checkpoint)
        target = Path(out) if out else run.info.run_dir / checkpoint.weights
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.tmp")
        shutil.copy2(checkpoint.path(checkpoint.weights), temporary)
        temporary.replace(target)
        run.observer.run_finished("FINISHED", {"checkpoint": str(target)}, None)
        return Outcome(ExitCode.DONE, target)
