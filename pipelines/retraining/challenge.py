"""A retraining's run: the data looked at, trained and compressed anew, bundled, judged beside the champion."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.execution import ids
from pipelines.execution.events import Observer
from pipelines.execution.node import Node, Ref
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Runner
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import threads_of, user_model
from pipelines.registry import register
from pipelines.registry.champion import Champion, add_existing_result, fetch_champion, require_usable
from pipelines.registry.names import backend_of, precision_of
from pipelines.registry.registry import IMAGES, Registry, Version
from pipelines.retraining import data_checks
from pipelines.retraining.head_to_head import duel_nodes
from pipelines.retraining.journal import Outcome
from pipelines.retraining.snapshot import Snapshot
from pipelines.retraining.state import State
from pipelines.retraining.trend import write_trend
from pipelines.runs.observers import default_observers
from pipelines.runs.reporting import reported, runner_for, stop_on_failure, stop_on_input
from pipelines.runs.run import Run, open_run
from pipelines.runs.verdict import print_verdict
from pipelines.system.files import write_text
from pipelines.system.output import say
from stages.artifacts import Artifact, ImageSummary, sha256_of
from stages.catalog import stage_entry
from stages.champion import promotion
from stages.champion.promotion import PromotionContent
from stages.errors import ConfigError, DataError, StageError
from stages.latency.quiet import wait_until_quiet
from stages.numerics.variants import engine_of
from stages.report.schema import ReportContent


@dataclass(frozen=True)
class Verdict:
    """What came of a challenge."""

    version: Version | None
    """The challenger; ``None`` if its engine is the champion's, bit for bit."""
    evidence: PromotionContent | None
    """``promotion.json``; ``None`` likewise."""


def challenge(
    config: PipelineConfig,
    registry: Registry,
    champion: Version | None,
    state: State,
    current: Snapshot,
    outcome: Outcome,
    *,
    command: Sequence[str],
    observers: Sequence[Observer] | None = None,
) -> Verdict:
    """Make a challenger of the config, judge and register it.

    Args:
        current: the user's files and the environment as they are; accepted once the check of the data has passed.
        outcome: gets the run's id and what is known of it, whatever happens then.

    Raises:
        DataError: the data is refused.
        DetpressError: a stage failed, or MLflow cannot be used; the champion is left alone.
    """
    artifacts = Path(config.run.artifacts).resolve()
    champion_engine = fetch_champion(registry, champion, artifacts) if champion else None
    if champion_engine is not None:
        require_usable(registry, champion_engine, paddle_python(config.run.paddle_python))
    config = start_from(config, registry, champion, artifacts)
    model = user_model(config)
    nodes = compress_graph(config, model, threads=threads_of(config))
    if observers is None:
        observers = default_observers(config, hand_over=False)
    with open_run(config, pipeline="retrain", command=command, observers=observers) as run:
        outcome.run_id = run.info.run_id
        if config.retrain.check_drop:
            data_checks.check(state.accepted(), current, config)
        runner = runner_for(config, run)
        runner.announce(nodes, ids.REPORT)
        runner.run([node for node in nodes if stage_entry(node.stage).collects], run.results)
        _stop(run)
        _look_for_drift(config, run, runner, registry, champion_engine, outcome)
        state.accept(current)
        runner.run([node for node in nodes if not stage_entry(node.stage).collects], run.results)
        path, content = reported(config, run, runner, nodes)
        print_verdict(content, path.parent, run.seconds, following=False)
        engine = (backend_of(config), engine_of(precision_of(config)))
        others = [node.id for node in nodes if not _concerns(node, *engine)]
        _stop(run, but=others)
        _require_agreement(config, content)
        write_trend(path.parent, artifacts, run.info.model, run.info.data, backend_of(config), precision_of(config))
        if champion_engine is not None and _same_engine(config, run, champion_engine):
            run.finish("FINISHED", content, path.parent)
            return Verdict(None, None)
        candidate = register.candidate(config, run, runner)
        evidence = judge(config, run, runner, run.info.run_id, champion_engine)
        run.finish("FINISHED", content, path.parent)
    return Verdict(register.register(config, registry, run, candidate, model), evidence)


def _concerns(node: Node, backend: str, precision: str) -> bool:
    """Whether the engine that is to be registered needs a node, or FP32 beside it."""
    return node.backend in (None, backend) and node.precision in (None, "fp32", precision)


def judge(config: PipelineConfig, run: Run, runner: Runner, run_id: str, champion: Champion | None) -> PromotionContent:
    """Measure the challenger beside the champion and put the evidence into the run's folder; returns it.

    Where nothing but a disturbed timing stands in the way, the engines are timed again up to ``latency.retries``
    times, when the machine is quieter.

    Raises:
        DetpressError: a stage failed.
    """
    if champion is not None:
        add_existing_result(run.results, ids.CHAMPION_ENGINE, champion.engine)
    content = _judged(duel_nodes(config, run, run_id, champion), run, runner)
    limit, patience = config.latency.max_foreign, config.latency.retry_wait
    for left in range(config.latency.retries, 0, -1):
        if not promotion.disturbed(content):
            break
        say(
            f"{promotion.verdict(content)} It is measured again (tries left: {left}) once other processes take at most "
            f"{limit:.0%} of the CPUs, or after {patience:g} s"
        )
        wait_until_quiet(limit, patience)
        measured = content.get("measured", 1) + 1
        content = _judged(duel_nodes(config, run, run_id, champion, again=True), run, runner)
        content["measured"] = measured
    write_text(run.info.run_dir / "promotion.json", json.dumps(content, indent=1) + "\n")
    write_text(run.info.run_dir / "promotion.md", promotion.render(content))
    return content


def measure_again(version: str) -> str:
    """What to do about a judgement that a disturbed timing stood in the way of."""
    return f"`detpress promote v{version}` measures again (gate.accept_disturbed=true: judged by such timings too)"


def _judged(nodes: Sequence[Node], run: Run, runner: Runner) -> PromotionContent:
    """Run the stages of a judgement; what came out."""
    runner.run(nodes, run.results)
    _stop(run, but=run.results.failures.keys() - {node.id for node in nodes})
    run.save_state("FINISHED")
    if ids.JUDGE not in run.results.artifacts:
        missing = run.results.skipped.get(ids.JUDGE, "a stage before it")
        raise StageError(f"the challenger could not be judged, because there is no result of {missing}")
    file = run.results.artifacts[ids.JUDGE].path("promotion.json")
    content: PromotionContent = json.loads(file.read_text(encoding="utf-8"))
    return content


def start_from(config: PipelineConfig, registry: Registry, champion: Version | None, artifacts: Path) -> PipelineConfig:
    """The config with the training switched on, and beginning with the champion's checkpoint, if that is asked for."""
    if not config.retrain.finetune:
        return config
    finetune, model = dataclasses.replace(config.finetune, enabled=True), config.model
    if champion is not None:
        weights = register.fetch_checkpoint(registry, champion, artifacts)
        if weights is None:
            raise ConfigError(
                [
                    f"retrain.finetune: the champion (version {champion.number}) was made from an exported model or "
                    "from random weights, so there is no checkpoint to continue from; set it to false"
                ]
            )
        model = dataclasses.replace(model, weights=str(weights), weights_sha256=None)
    return dataclasses.replace(config, finetune=finetune, model=model)


def _look_for_drift(
    config: PipelineConfig, run: Run, runner: Runner, registry: Registry, champion: Champion | None, outcome: Outcome
) -> None:
    """Compare the images with those the champion was made with."""
    if champion is None or config.retrain.drift == "off":
        return
    folder = register.home_of(registry, champion.version, runner.store.root)
    file = folder / IMAGES
    if not file.is_file() and registry.fetch(champion.version, IMAGES, folder) is None:
        return  # it was registered with retrain.drift=off
    before = ImageSummary(root=folder, files={IMAGES: sha256_of(file)}, count=0)
    add_existing_result(run.results, ids.CHAMPION_ENGINE, champion.engine)
    add_existing_result(run.results, ids.CHAMPION_IMAGES, before)
    node: Node = register.drift_node(config, ids.DRIFT, Ref(ids.CHAMPION_ENGINE), Ref(ids.CHAMPION_IMAGES))
    runner.run([node], run.results)
    _stop(run)
    summary: Artifact = run.results.artifacts[node.id]
    assert isinstance(summary, ImageSummary)
    outcome.more["drift"] = summary.drifted
    if summary.drifted and config.retrain.drift == "refuse":
        from stages.champion.drift import sentence

        content = json.loads(summary.path("drift.json").read_text(encoding="utf-8"))
        raise DataError(f"{sentence(content)}; look at them, then accept them with retrain.drift=warn")


def _require_agreement(config: PipelineConfig, report: ReportContent) -> None:
    """Raise StageError if the report has the engine as failed, as one that finds other boxes than its model does."""
    for row in report["rows"]:
        if (row["backend"], row["precision"]) == (backend_of(config), precision_of(config)) and row["status"] != "ok":
            raise StageError(f"the engine {row['backend']} {row['precision']} is no challenger: {row['error']}")


def _same_engine(config: PipelineConfig, run: Run, champion: Champion) -> bool:
    built = run.results.artifacts[ids.build(backend_of(config), precision_of(config))]
    return built.files == champion.engine.files


def _stop(run: Run, but: Collection[str] = ()) -> None:
    """Raise the first failure, the user's first; failures of the nodes ``but`` are left to the report."""
    stop_on_input(run)
    stop_on_failure(run, but)
