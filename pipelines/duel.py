"""The challenger beside the champion: which stages measure both again, on the same images, in one go.

Scores are exact, so they may come from the store; times are always taken anew, of all engines alternately.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.graph import has_labels
from pipelines.nodes import Node, Ref
from pipelines.registering import home_of
from pipelines.registry import BUNDLE, Registry, Version
from pipelines.registry_names import backend_of, precision_of
from pipelines.run import Run
from pipelines.runner import Results
from pipelines.schema import PipelineConfig, stage_options
from stages import backends
from stages.bundled import Opened, opened, unpack
from stages.codec import to_json
from stages.contract import Artifact, Engine, LabeledSet, sha256_of
from stages.errors import DataError, InputError
from stages.options import AccuracyOptions, CompareOptions, JudgeOptions, LatencyOptions

CHAMPION, CHALLENGER = "champion", "challenger"
ENGINE = "champion.engine"
JUDGE = "judge"


@dataclass(frozen=True)
class Champion:
    """The champion, unpacked on this machine."""

    version: Version
    bundle: Opened

    @property
    def engine(self) -> Engine:
        return self.bundle.engine


def fetch_champion(registry: Registry, version: Version, artifacts: Path) -> Champion:
    """Bring a version's bundle here, unless it is here, and check every file of it.

    Raises:
        InputError: it is not what was registered.
        StoreError: MLflow cannot be reached, or its files are gone.
    """
    home = home_of(registry, version, artifacts)
    for other in home.parent.glob("*/"):
        if other != home:
            shutil.rmtree(other)  # of a champion before; MLflow has it
    folder = home / "bundle"
    if folder.is_dir():
        with contextlib.suppress(InputError):  # somebody changed it here: fetched again
            return Champion(version, opened(folder, folder))
        shutil.rmtree(folder)
    zipped = registry.fetch(version, BUNDLE, home)
    if zipped is None:
        raise InputError(
            f"{registry.name} version {version.number} has no {BUNDLE} in MLflow any more; promote another with "
            "`detpress promote VERSION --force`"
        )
    made = home / ".unpacked"
    shutil.rmtree(made, ignore_errors=True)  # of one that was killed here
    unpack(zipped, made, digest=version.tags["bundle_sha256"])
    made.rename(folder)
    zipped.unlink()
    return Champion(version, opened(folder, folder))


def given(results: Results, name: str, artifact: Artifact) -> None:
    """Let a result that no stage of this run makes stand among its results."""
    results.artifacts[name] = artifact
    results.seconds[name] = 0.0
    results.cached.add(name)


def duel_nodes(config: PipelineConfig, run: Run, run_id: str, champion: Champion | None) -> list[Node]:
    """The stages that judge the challenger of ``run_id``, fed by what ``run`` has of that run's stages.

    Args:
        champion: its engine has to stand in the results as ``ENGINE``.
    """
    backend, precision = backend_of(config), precision_of(config)
    base = [] if precision == "fp32" else ["fp32"]
    built = {name: f"build.{backend}.{name}" for name in [*base, precision]}
    labeled = has_labels(config)
    judged = JudgeOptions(gate=config.gate, run_id=run_id, hardware=run.info.hardware)
    validation = run.results.artifacts.get("labels.val")
    if isinstance(validation, LabeledSet):
        judged.images_digest = validation.images_digest
    if champion is None:
        judged.names = [*base, precision]
        compared = [Ref(f"compare.{backend}")] if base and labeled else []
        scored = [Ref(f"accuracy.{backend}.{name}") for name in built] if labeled else []
        return [_judge(judged, [Ref(node) for node in built.values()], Ref(f"latency.{backend}"), scored, compared)]
    judged.names = [*base, CHAMPION, CHALLENGER]
    judged.champion = {"version": champion.version.number, "run_id": champion.version.run_id}
    engines = [*(Ref(built[name]) for name in base), Ref(ENGINE), Ref(built[precision])]
    nodes = _scores(config, backend, dict(zip(judged.names, engines, strict=True))) if labeled else []
    threads = int(to_json(config.backend[backend]).get("threads", 1))
    nodes.append(
        Node(
            id="duel.latency",
            stage="latency",
            options=stage_options(LatencyOptions, config.latency, nms=config.accuracy.nms, names=judged.names),
            inputs={"engines": engines, "images": Ref("images.unlabeled")},
            threads=threads,
            fingerprint=backends.get(backend).fingerprint(),
            timed=True,
            reuse=False,
        )
    )
    scored = [Ref(f"duel.accuracy.{name}") for name in judged.names] if labeled else []
    compared = [Ref(f"duel.compare.{name}") for name in judged.names[:-1]] if labeled else []
    return [*nodes, _judge(judged, engines, Ref("duel.latency"), scored, compared)]


def _scores(config: PipelineConfig, backend: str, engines: Mapping[str, Ref]) -> list[Node]:
    """Score every engine, and compare the challenger with each of the others."""
    threads = int(to_json(config.backend[backend]).get("threads", 1))
    nodes = [
        Node(
            id=f"duel.accuracy.{name}",
            stage="accuracy",
            options=stage_options(AccuracyOptions, config.accuracy),
            inputs={"engine": engine, "validation": Ref("labels.val")},
            threads=threads,
            fingerprint=backends.get(backend).fingerprint(),
        )
        for name, engine in engines.items()
    ]
    for name in engines:
        if name == CHALLENGER:
            continue
        options: Any = stage_options(CompareOptions, config.accuracy)
        if name == CHAMPION:
            options.worst = 0  # its pictures would call both by the same precision
        nodes.append(
            Node(
                id=f"duel.compare.{name}",
                stage="compare",
                options=options,
                inputs={
                    "base": Ref(f"duel.accuracy.{name}"),
                    "other": Ref(f"duel.accuracy.{CHALLENGER}"),
                    "validation": Ref("labels.val"),
                },
                seeded=True,
            )
        )
    return nodes


def _judge(options: JudgeOptions, engines: list[Ref], latency: Ref, scored: list[Ref], compared: list[Ref]) -> Node:
    return Node(
        id=JUDGE,
        stage="judge",
        options=options,
        inputs={"engines": engines, "latency": latency, "accuracies": scored, "comparisons": compared},
    )


def require_frozen(validation: LabeledSet) -> None:
    """Raise DataError if a validation image is not what it was when the run collected it."""
    listed = json.loads(validation.path("images.json").read_text(encoding="utf-8"))
    root = Path(validation.images_root)
    for image in listed:
        path = root / image["file_name"]
        if not path.is_file() or sha256_of(path) != image["sha256"]:
            raise DataError(
                f"validation image {path} is not what it was in that run, so its mAP would not compare; run "
                "`detpress compress` again, then promote that run"
            )
