"""From a run's engine to a version in the registry: its bundle, its checkpoint, its evidence."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.config.stage_options import Setting, stage_options
from pipelines.execution import ids
from pipelines.execution.node import Node, Ref
from pipelines.execution.paddle_python import paddle_python
from pipelines.execution.runner import Runner
from pipelines.graph.bundle import bundle_node
from pipelines.registry.names import backend_of, model_name, precision_of
from pipelines.registry.registry import BUNDLE, CHECKPOINT, IMAGES, Registry, Version
from pipelines.runs.bundles import write_zip
from pipelines.runs.run import Run
from pipelines.system.slug import slug
from stages.artifacts import Artifact, Bundle, Checkpoint, sha256_of
from stages.bundle import bom, card
from stages.champion import promotion
from stages.codec import to_json
from stages.errors import StoreError
from stages.options.champion import DriftOptions
from stages.outside import names

EVIDENCE = ("promotion.json", "promotion.md")
DESCRIPTION = (card.FILE, bom.FILE)
"""Files of the bundle that a version shows beside it: what the engine is, without unpacking."""


def registry_of(config: PipelineConfig) -> Registry:
    """The registered model that the config's engine belongs to; nothing is asked of MLflow yet."""
    name = model_name(config)
    return Registry(config.tracking, name, folder_of(config) / "alias.lock")


def folder_of(config: PipelineConfig) -> Path:
    """What is remembered here of that registered model."""
    return Path(config.run.artifacts).resolve() / "retrain" / slug(model_name(config))


def home_of(registry: Registry, version: Version, artifacts: Path) -> Path:
    """Where a version's files are kept here while it is the champion. Raises StoreError: its tags were changed."""
    digest, said = version.tags.get("bundle_sha256"), f"{registry.name} version {version.number} in MLflow"
    return names.inside(artifacts / "registry" / slug(registry.name), str(digest)[:20], said, "the tag bundle_sha256")


@dataclass(frozen=True)
class Candidate:
    """An engine on its way to become a version."""

    bundle: Bundle
    images: Path | None
    """What the run's images are like under it (``images.npz``), for the next retraining to compare with."""


def candidate(config: PipelineConfig, run: Run, runner: Runner, of: Path | None = None) -> Candidate:
    """Bundle the engine that is registered and describe its images, as stages of the run.

    The report has to be there already.

    Args:
        of: the folder of the run that built it; ``None``: this one.

    Raises:
        DetpressError: what failed.
    """
    return Candidate(_bundle(config, run, runner, of), _describe_images(config, run, runner))


def _bundle(config: PipelineConfig, run: Run, runner: Runner, of: Path | None) -> Bundle:
    backend, precision = backend_of(config), precision_of(config)
    node = bundle_node(of or run.info.run_dir, runner.store, backend, precision, config.registry.golden)
    runner.run([node], run.results)
    run.save_state("RUNNING")
    if node.id in run.results.failures:
        raise run.results.failures[node.id]
    bundle = run.results.artifacts[node.id]
    assert isinstance(bundle, Bundle)
    return bundle


def _describe_images(config: PipelineConfig, run: Run, runner: Runner) -> Path | None:
    if config.retrain.drift == "off":
        return None
    node = drift_node(config, ids.SUMMARY, Ref(ids.build(backend_of(config), precision_of(config))), None)
    runner.run([node], run.results)
    if node.id in run.results.failures:
        raise run.results.failures[node.id]
    return run.results.artifacts[node.id].path(IMAGES)


def drift_node(config: PipelineConfig, name: str, engine: Ref, before: Ref | None) -> Node:
    """The stage that looks at the unlabeled images with an engine."""
    backend = backend_of(config)
    options, origins = stage_options(
        DriftOptions, config, images=Setting("retrain.drift_images"), nms=Setting("accuracy.nms")
    )
    return Node(
        id=name,
        stage="drift",
        options=options,
        origins=origins,
        inputs={"images": Ref(ids.IMAGES), "engine": engine, "before": before},
        threads=int(to_json(config.backend[backend]).get("threads", 1)),
        fingerprint=paddle_python(config.run.paddle_python).fingerprint(backend),
    )


def register(
    config: PipelineConfig,
    registry: Registry,
    run: Run,
    candidate: Candidate,
    model: Artifact | None,
    *,
    run_id: str | None = None,
) -> Version:
    """Make the run's engine a version, and the challenger. MLflow has to have the run: call this when it is over.

    Args:
        model: what the run started from; a training's checkpoint comes before it.
        run_id: the run that built the engine, if it is not ``run``.
    """
    bundle = candidate.bundle
    artifacts, run_dir = Path(config.run.artifacts).resolve(), run.info.run_dir
    run_id = run_id or run.info.run_id
    tags = {
        "backend": bundle.backend,
        "precision": str(bundle.precision),
        "hardware": run.info.hardware,
        "command": run.info.command[:5000],
    }
    checkpoint = run.results.artifacts.get(ids.FINETUNE, model)
    evidence = [run_dir / name for name in EVIDENCE if (run_dir / name).is_file()]
    description = ""
    if evidence:
        content: promotion.PromotionContent = json.loads(evidence[0].read_text(encoding="utf-8"))
        tags["gates"] = promotion.in_short(content)
        description = promotion.render(content)
    with tempfile.TemporaryDirectory(dir=artifacts, prefix=".register-") as folder:
        described = [bundle.path(name) for name in DESCRIPTION]
        files = [Path(folder) / BUNDLE, *described, *evidence, *([candidate.images] if candidate.images else [])]
        write_zip(bundle, files[0])
        tags["bundle_sha256"] = sha256_of(files[0])
        if isinstance(checkpoint, Checkpoint):
            source = checkpoint.path(checkpoint.weights)
            files.append(_placed(source, Path(folder) / CHECKPOINT))
            tags["checkpoint_sha256"] = sha256_of(source)
        return registry.add(run_id, ids.build(bundle.backend, bundle.precision), files, tags, description)


def fetch_checkpoint(registry: Registry, version: Version, artifacts: Path) -> Path | None:
    """The FP32 checkpoint that a version was made from; ``None`` if it was made from an exported model.

    Raises:
        StoreError: it is not what was registered.
    """
    digest = version.tags.get("checkpoint_sha256")
    if digest is None:
        return None
    target = home_of(registry, version, artifacts) / CHECKPOINT
    if not target.is_file() or sha256_of(target) != digest:
        fetched = registry.fetch(version, CHECKPOINT, target.parent)
        if fetched is None or sha256_of(fetched) != digest:
            raise StoreError(
                f"{registry.name} version {version.number}: its {CHECKPOINT} in MLflow is missing or not what was "
                "registered; set retrain.finetune=false, or promote another version"
            )
    return target


def _placed(source: Path, target: Path) -> Path:
    """The file under another name, without a copy where the file system can."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
