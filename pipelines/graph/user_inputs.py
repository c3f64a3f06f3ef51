"""What the user and the machine bring to a run: a model, class names, threads, and a backend that can run here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines.config.schema import PipelineConfig
from pipelines.system import provenance
from stages import backends
from stages.artifacts import Artifact, Checkpoint, InferenceModel, sha256_of
from stages.backends.base import Unavailable
from stages.errors import ConfigError, UnavailableError


def user_model(config: PipelineConfig) -> Artifact | None:
    """The checkpoint or inference model that the config names, with its digests; ``None`` for random weights."""
    model = config.model
    if model.inference_dir:
        root = Path(model.inference_dir).resolve()
        names = ("model.pdmodel", "model.pdiparams")
        return InferenceModel(root=root, files={name: sha256_of(root / name) for name in names})
    if model.weights:
        from stages.data.weights import resolve_weights

        path = resolve_weights(model.weights, model.weights_sha256)
        return Checkpoint(root=path.parent, files={path.name: sha256_of(path)}, weights=path.name)
    return None


def with_labels(config: PipelineConfig) -> PipelineConfig:
    """The config with ``model.labels`` filled in: the user's, else the data set's, else COCO's 80.

    Raises:
        ConfigError: ``model.labels`` lacks classes of the validation set, and is not as long either.
    """
    from stages.detection import coco, shapes

    data_labels: list[str] | None = None
    if config.data.kind == "shapes":
        data_labels = list(shapes.LABELS)
    elif config.data.val_annotations or (config.finetune.enabled and config.data.train_annotations):
        data_labels = coco.read_labels(Path(config.data.val_annotations or config.data.train_annotations or ""))
    labels = config.model.labels or data_labels or list(coco.COCO_LABELS)
    if data_labels is not None and len(labels) != len(data_labels) and not set(data_labels) <= set(labels):
        raise ConfigError(
            [
                f"model.labels has {len(labels)} classes, the validation set {len(data_labels)} "
                f"({', '.join(data_labels)}), and not all of these are among them: name the model's classes as the "
                "data set does"
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


def require_backend(name: str) -> None:
    """Raise UnavailableError unless this backend can run here."""
    state = backends.get(name).availability()
    if isinstance(state, Unavailable):
        raise UnavailableError(f"backend {name} is unavailable: {state}")


def threads_of(config: PipelineConfig) -> int:
    """How many threads a stage may use: the config's number, else every core that this process may use."""
    return config.threads or provenance.available_cores()
