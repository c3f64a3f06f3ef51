"""The compress pipeline: a config in, a measured INT8 detector and its report out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines import provenance
from pipelines.devices import Turns
from pipelines.events import Observer
from pipelines.graph import compress_graph, data_nodes, finetune_nodes
from pipelines.plan import ANY, AUTO, FRESH
from pipelines.remote_store import open_store
from pipelines.run import Outcome, Run, default_observers, exit_code, open_run, publish
from pipelines.runner import Node, Ref, Results, Runner
from pipelines.schema import PipelineConfig
from pipelines.show import print_tables
from stages import backends
from stages.backends.base import Unavailable
from stages.contract import Artifact, Checkpoint, InferenceModel, sha256_of
from stages.errors import ConfigError, InputError, UnavailableError
from stages.options import ReportOptions


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
        registers &= code in (0, 3)
        if registers:
            from pipelines import registering

            made = registering.bundle(config, run, runner)
            images = registering.described(config, run, runner)
        run.observer.run_finished(run_status(code), content, path.parent)
        print_tables(content)
    if registers:
        registering.register(config, registering.registry_of(config), run, made, source, [images] if images else [])
    return Outcome(code, path)


def reported(config: PipelineConfig, run: Run, runner: Runner, nodes: Sequence[Node]) -> tuple[Path, dict[str, Any]]:
    """Write the report over what ``nodes`` made and publish it; the path of ``report.json`` and its content.

    Raises:
        InputError: what a stage found wrong with the user's input.
        DetpressError: the report could not be written.
    """
    results = run.results
    stop_on_input(run)
    runner.run([_report_node(run, config, nodes, results)], results)
    report = results.artifacts.get("report")
    if report is None:
        run.save_state("FAILED")
        raise results.failures["report"]
    content = json.loads(report.path("report.json").read_text(encoding="utf-8"))
    run.save_state(run_status(exit_code(results, content, require_all=config.run.require_all_backends)))
    path = publish(run, report.root)
    return path, json.loads(path.read_text())


def stop_on_input(run: Run) -> None:
    """Raise the first failure that the user's input is to blame for."""
    for failure in run.results.failures.values():
        if isinstance(failure, InputError):
            run.save_state("FAILED")
            raise failure


def run_status(code: int) -> str:
    """The status of a run that ends with an exit code: a failed gate is no failure of the run."""
    return "FINISHED" if code in (0, 3) else "FAILED"


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
        return Outcome(0, target)


def timings_policy(config: PipelineConfig) -> str:
    """``run.reuse_latency`` in the runner's words."""
    return {None: AUTO, True: ANY, False: FRESH}[config.run.reuse_latency]


def runner_for(config: PipelineConfig, run: Run) -> Runner:
    """A runner on the config's store that tells the run's observers."""
    return Runner(
        open_store(Path(config.run.artifacts).resolve(), config.run.store),
        run.observer,
        seed=config.seed,
        logs=run.logs,
        timeout=config.run.stage_timeout,
        retries=config.run.stage_retries,
        timings=timings_policy(config),
        run_id=run.info.run_id,
        provenance=run.provenance,
        turns=Turns(config.run.locks, alone=config.run.timing_alone),
    )


def user_model(config: PipelineConfig) -> Artifact | None:
    """The checkpoint or inference model that the config names, with its digests; ``None`` for random weights."""
    model = config.model
    if model.inference_dir:
        root = Path(model.inference_dir).resolve()
        names = ("model.pdmodel", "model.pdiparams")
        return InferenceModel(root=root, files={name: sha256_of(root / name) for name in names})
    if model.weights:
        from stages.weights import resolve_weights

        path = resolve_weights(model.weights, model.weights_sha256)
        return Checkpoint(root=path.parent, files={path.name: sha256_of(path)}, weights=path.name)
    return None


def with_labels(config: PipelineConfig) -> PipelineConfig:
    """The config with ``model.labels`` filled in: the user's, else the data set's, else COCO's 80.

    Raises:
        ConfigError: ``model.labels`` lacks classes of the validation set, and is not as long either.
    """
    from stages.detection import coco, shapes

    found: list[str] | None = None
    if config.data.kind == "shapes":
        found = list(shapes.LABELS)
    elif config.data.val_annotations or (config.finetune.enabled and config.data.train_annotations):
        found = coco.read_labels(Path(config.data.val_annotations or config.data.train_annotations or ""))
    labels = config.model.labels or found or list(coco.COCO_LABELS)
    if found is not None and len(labels) != len(found) and not set(found) <= set(labels):
        raise ConfigError(
            [
                f"model.labels has {len(labels)} classes, the validation set {len(found)} ({', '.join(found)}), and "
                "not all of these are among them: name the model's classes as the data set does"
            ]
        )
    return dataclasses.replace(config, model=dataclasses.replace(config.model, labels=labels))


def require_a_backend(config: PipelineConfig) -> None:
    """Raise UnavailableError unless one of the backends can run here."""
    reasons: list[str] = []
    for name in config.backend:
        state = backends.get(name).availability()
        if not isinstance(state, Unavailable):
            return
        reasons.append(f"{name}: {state.reason}; {state.install}")
    raise UnavailableError("none of the backends can run here: " + "; ".join(reasons))


def _report_node(run: Run, config: PipelineConfig, nodes: Sequence[Node], results: Results) -> Node:
    """The report over whatever there is, with a line for each result that is missing."""
    by_id = {node.id: node for node in nodes}
    failures: list[dict[str, Any]] = []
    for name in [n.id for n in nodes]:
        cause = name if name in results.failures else results.skipped.get(name)
        if cause is not None:
            node, error = by_id[name], results.failures[cause]
            failures.append(
                {
                    "stage": name,
                    "backend": node.backend,
                    "precision": node.precision,
                    "error": str(error),
                    "status": "unavailable" if isinstance(error, UnavailableError) else "failed",
                }
            )
    kinds = {
        "engines": "build",
        "latencies": "latency",
        "accuracies": "accuracy",
        "comparisons": "compare",
        "agreements": "agreement",
        "mixtures": "float_blocks",
    }
    return Node(
        id="report",
        stage="report",
        options=ReportOptions(
            run_id=run.info.run_id,
            model=run.info.model,
            data=run.info.data,
            command=run.info.command,
            hardware=run.info.hardware,
            method=config.compression.method,
            failures=failures,
            gate=config.gate,
            require_all_backends=config.run.require_all_backends,
            config=dict(run.info.config),
            versions=provenance.versions(),
            commit=run.info.commit,
        ),
        inputs={name: [Ref(n.id) for n in nodes if n.stage == stage] for name, stage in kinds.items()},
        partial=True,
        empty=True,
    )
