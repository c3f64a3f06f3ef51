"""From the results of a run's stages to its published report."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.config.variants import variants_of
from pipelines.execution import ids
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.plan import ANY, AUTO, FRESH
from pipelines.execution.runner import Node, Ref, Results, Runner, RunnerSettings
from pipelines.runs.history import FAILED, FINISHED
from pipelines.runs.outcome import exit_code
from pipelines.runs.publish import publish
from pipelines.runs.run import Run
from pipelines.store.remote import open_store
from pipelines.system.devices import DeviceLocks
from pipelines.system.paths import shorten
from stages.catalog import STAGES
from stages.errors import ExitCode, InputError, UnavailableError
from stages.options.report import ReportOptions
from stages.report.report import load
from stages.report.schema import Failure, ReportContent


def reported(config: PipelineConfig, run: Run, runner: Runner, nodes: Sequence[Node]) -> tuple[Path, ReportContent]:
    """Write the report over what ``nodes`` made and publish it; the path of ``report.json`` and its content.

    Raises:
        InputError: what a stage found wrong with the user's input.
        DetpressError: the report could not be written.
    """
    results = run.results
    stop_on_input(run)
    runner.run([_report_node(run, config, nodes, results)], results)
    report = results.artifacts.get(ids.REPORT)
    if report is None:
        run.save_state(FAILED)
        raise results.failures[ids.REPORT]
    content = load(report.root)
    run.save_state(run_status(exit_code(results, content, require_all=config.run.require_all_backends)))
    path = publish(run, report.root)
    return path, load(path.parent)


def stop_on_input(run: Run) -> None:
    """Raise the first failure that the user's input is to blame for."""
    for failure in run.results.failures.values():
        if isinstance(failure, InputError):
            run.save_state(FAILED)
            raise failure


def stop_on_failure(run: Run, but: Collection[str] = ()) -> None:
    """Raise the first failure; those of the nodes ``but`` are left to the report."""
    for name, failure in run.results.failures.items():
        if name not in but:
            run.save_state(FAILED)
            raise failure


def run_status(code: int) -> str:
    """The status of a run that ends with an exit code: a failed gate is no failure of the run."""
    return FINISHED if code in (ExitCode.DONE, ExitCode.GATE_FAILED) else FAILED


def timings_policy(config: PipelineConfig) -> str:
    """``run.reuse_latency`` in the runner's words."""
    return {None: AUTO, True: ANY, False: FRESH}[config.run.reuse_latency]


def runner_for(config: PipelineConfig, run: Run) -> Runner:
    """A runner on the config's store that tells the run's observers."""
    return Runner(
        open_store(Path(config.run.artifacts).resolve(), config.run.store),
        run.observer,
        RunnerSettings(
            seed=config.seed,
            timeout=config.run.stage_timeout,
            retries=config.run.stage_retries,
            device=config.run.device,
            timings=timings_policy(config),
            python=paddle_python(config.run.paddle_python),
        ),
        logs=run.logs,
        run_id=run.info.run_id,
        provenance=run.provenance,
        devices=DeviceLocks(config.run.locks, alone=config.run.timing_alone, who=f"run {run.info.run_id}"),
    )


def _report_node(run: Run, config: PipelineConfig, nodes: Sequence[Node], results: Results) -> Node:
    """The report over whatever there is, with a line for each result that is missing."""
    by_id = {node.id: node for node in nodes}
    failures: list[Failure] = []
    for name in [n.id for n in nodes]:
        cause = name if name in results.failures else results.skipped.get(name)
        if cause is not None:
            node, error = by_id[name], results.failures[cause]
            failures.append(
                {
                    "stage": name,
                    "backend": node.backend,
                    "precision": node.precision,
                    "error": shorten(str(error)),
                    "status": "unavailable" if isinstance(error, UnavailableError) else "failed",
                }
            )
    chosen = {name: variants_of(config, name) for name in config.backend}
    options, origins = stage_options(
        ReportOptions,
        config,
        run_id=run.info.run_id,
        model=Setting("model.name", run.info.model),
        data=Setting("data.name", run.info.data),
        command=run.info.command,
        hardware=run.info.hardware,
        method=Setting("compression.method"),
        failures=cast("list[dict[str, Any]]", failures),
        gate=Setting("gate"),
        require_all_backends=Setting("run.require_all_backends"),
        config=shorten(run.info.config),
        versions=dict(run.versions),
        commit=run.info.commit,
        variants={name: [str(variant) for variant in choice.variants] for name, choice in chosen.items()},
        left_out=[
            {"backend": name, "precision": variant, "reason": reason}
            for name, choice in chosen.items()
            for variant, reason in choice.left_out.items()
        ],
    )
    fields: dict[str, list[str]] = {}
    for stage, entry in STAGES.items():
        if entry.report_input:
            fields.setdefault(entry.report_input, []).append(stage)
    return Node(
        id=ids.REPORT,
        stage="report",
        options=options,
        origins=origins,
        inputs={
            name: [Ref(n.id) for n in nodes if n.stage in stages and n.id != ids.TEACHER]
            for name, stages in fields.items()
        },
        partial=True,
        empty=True,
    )
