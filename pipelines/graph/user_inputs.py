"""What the user and the machine bring to a run: a model, class names, threads, and a backend that can run here."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from pipelines.config.auto import TRAIN, VAL, has_set
from pipelines.config.schema import PipelineConfig
from pipelines.config.stated import with_stated
from pipelines.config.user_data import Labels
from pipelines.execution.paddle_python import paddle_python, require_paddle
from pipelines.system import provenance
from stages.artifacts import Artifact, Checkpoint, InferenceModel, sha256_of
from stages.backends.base import Unavailable
from stages.errors import ConfigError, DataError, UnavailableError
from stages.programs.files import find_export


def user_model(config: PipelineConfig) -> Artifact | None:
    """The checkpoint or inference model that the config names, with its digests; ``None`` for random weights."""
    model = config.model
    if model.inference_dir:
        root = Path(model.inference_dir).resolve()
        found = find_export(root)
        names = [name for name in (found.program, found.params, found.settings) if name]
        return InferenceModel(
            root=root,
            files={name: sha256_of(root / name) for name in names},
            program=found.program,
            params=found.params,
            settings=found.settings,
        )
    if model.weights:
        from stages.data.weights import resolve_weights

        path = resolve_weights(model.weights, model.weights_sha256)
        return Checkpoint(root=path.parent, files={path.name: sha256_of(path)}, weights=path.name)
    return None


def with_labels(config: PipelineConfig) -> PipelineConfig:
    """The config with what an exported model states about itself, and with ``model.labels`` filled in: the user's, else
    the export's, else the data set's in the order of the model's classes.

    Raises:
        ConfigError: the order of the model's classes cannot be told, the validation set has boxes of others, or the
            export contradicts the config.
        DataError: a label file that cannot be read.
        WeightsError: a file of the export that cannot be read.
    """
    config = with_stated(config)
    labels = config.model.labels or model_order(config)
    if config.data.kind != "shapes" and config.data.val_annotations:
        _require_known_classes(labels, Labels(config.data))
    return dataclasses.replace(config, model=dataclasses.replace(config.model, labels=labels))


def model_order(config: PipelineConfig) -> list[str]:
    """The names of a model's classes, in its order, where ``model.labels`` does not state them.

    PaddleDetection numbers classes in the order of the label file that a model is trained on. That is the training
    set's where there is one; a validation set that lists the same names in another order then leaves open which of the
    two a model that was brought has been trained on.

    Raises:
        ConfigError: the two files have different orders, and the model is not trained here.
    """
    from stages.detection import coco, shapes

    data = config.data
    if data.kind == "shapes":
        return list(shapes.LABELS)
    files = Labels(data)
    train, val = files.names(TRAIN) if has_set(config, TRAIN) else None, files.names(VAL)
    if train is None or val is None:
        return train or val or list(coco.COCO_LABELS)
    brought = config.model.weights is not None or config.model.inference_dir is not None
    shared = ([name for name in train if name in val], [name for name in val if name in train])
    if brought and not config.finetune.enabled and shared[0] != shared[1]:
        raise ConfigError(
            [
                "model.labels: the model's classes are numbers, and the label files number them differently: "
                f"{files.place(TRAIN)} lists {', '.join(train)}; {files.place(VAL)} lists {', '.join(val)}. "
                "Name them in the order that the model was trained with: model.labels=[...]"
            ]
        )
    return train


def _require_known_classes(labels: list[str], files: Labels) -> None:
    """ConfigError if the validation labels have boxes of classes that the model does not have."""
    from stages.detection import classes

    try:
        matched = classes.match_classes(labels, files.categories(VAL) or [])
        if matched.unknown:
            what = f"the validation labels {files.place(VAL)}"
            classes.require_known(files.content(VAL).as_dict(), matched, what)
    except DataError as error:
        raise ConfigError([f"model.labels: {error}"]) from error


def require_a_backend(config: PipelineConfig) -> None:
    """Raise UnavailableError unless one of the backends can run here; InputError if no Python here has Paddle."""
    require_paddle(config.run.paddle_python)
    python = paddle_python(config.run.paddle_python)
    reasons: list[str] = []
    for name in config.backend:
        state = python.availability(name)
        if not isinstance(state, Unavailable):
            return
        reasons.append(f"{name}: {state.reason}; {state.install}")
    raise UnavailableError("none of the backends can run here: " + "; ".join(reasons))


def require_backend(config: PipelineConfig, name: str) -> None:
    """The same of this backend alone."""
    require_paddle(config.run.paddle_python)
    state = paddle_python(config.run.paddle_python).availability(name)
    if isinstance(state, Unavailable):
        raise UnavailableError(f"backend {name} is unavailable: {state}")


def threads_of(config: PipelineConfig) -> int:
    """How many threads a stage may use: the config's number, else every core that this process may use."""
    return config.threads or provenance.available_cores()
