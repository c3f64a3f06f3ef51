"""What the user brings: files that have to exist, and settings that exclude or need each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipelines.config.auto import NONE, TRAIN, VAL, block_backend, block_labels, converted, has_set
from pipelines.config.keys import Problem, close_to, suggestion
from pipelines.config.models import model_names
from pipelines.config.schedule_check import check_schedule
from pipelines.config.schema import PipelineConfig
from stages import backends
from stages.detection.images import list_images
from stages.distillation.distill import TARGET_NEEDS, not_for, scores_by_labels
from stages.errors import WeightsError
from stages.options.compression import AUTO
from stages.options.data import DataOptions
from stages.options.lighten import ACTIVATIONS, HARDSWISH_OPSET, KEEP, OPSET_NEEDED, lightens
from stages.options.model import STRIDE
from stages.programs.files import find_export
from stages.training.finetune import check_input_size

SILU = {"swish", "silu"}
_DRAWN = {
    "train_annotations": "train.json",
    "train_images": "train",
    "val_annotations": "val.json",
    "val_images": "val",
    "unlabeled_images": "unlabeled",
}
"""What the drawn set's files are called; nothing else can be read from it."""


def check_inputs(config: PipelineConfig, *, finetune_only: bool = False, data: bool = True) -> list[Problem]:
    """Problems of the model and the data, as one list.

    Args:
        config: well-formed; its values may still be wrong.
        finetune_only: the run only trains, so random weights are what it starts from by default, and nothing is
            compressed or measured.
        data: whether the layout of the data set is known; else its paths are not looked at.
    """
    problems = list(_model(config, finetune_only))
    if config.data.kind == "shapes":
        problems += _check_synthetic(config.data)
    elif data:
        problems += _data(config, finetune_only)
    problems += check_schedule(config.schedule)
    if not finetune_only:
        problems += [*_calibration(config.data), *_target(config), *_light(config)]
    if not finetune_only and data:
        problems += _blocks(config)
    if not finetune_only and not config.backend:
        problems.append(Problem("backend", "none is chosen; name at least one, e.g. backend=[onnxruntime]"))
    return problems


def _model(config: PipelineConfig, finetune_only: bool) -> Iterator[Problem]:
    model, trains = config.model, finetune_only or config.finetune.enabled
    given = [key for key in ("weights", "inference_dir") if getattr(model, key) is not None]
    if not model.architecture and model.inference_dir is None:
        yield Problem("model.architecture", "is empty; choose a model, e.g. model=ppyoloe_s")
    if len(given) == 2:
        yield Problem("model", "weights and inference_dir exclude each other; set one of them to null")
    if model.random_weights and given:
        yield Problem("model", f"random_weights=true and {' and '.join(given)} exclude each other; leave one out")
    if model.random_weights and trains and not given:
        yield Problem(
            "model.random_weights", "is for runs without training; training starts from random weights anyway"
        )
    if trains and model.inference_dir is not None:
        yield Problem(
            "model.inference_dir",
            "an exported model cannot be trained; give its checkpoint as model.weights"
            + ("" if finetune_only else ", or set finetune.enabled=false"),
        )
    if not given and not model.random_weights and not trains:
        yield Problem(
            "model.weights",
            "there are no weights to compress; give a checkpoint (model.weights=FILE_OR_URL) or an exported model "
            "(model.inference_dir=DIR), train one first (finetune.enabled=true), or measure speed alone with "
            "untrained weights (model.random_weights=true)"
            + ("; the embedded demo is experiment=demo" if config.data.kind == "shapes" else ""),
        )
    if trains and all(side >= STRIDE and side % STRIDE == 0 for side in model.input_size):
        yield from (Problem("", text) for text in check_input_size(model.input_size))
    if model.weights is not None:
        yield from _weights(model.weights)
    if model.inference_dir is not None:
        yield from _frozen(Path(model.inference_dir))


def _calibration(data: DataOptions) -> Iterator[Problem]:
    if data.calibration_images is None:
        return
    folder = Path(data.calibration_images)
    if not folder.is_dir():
        yield Problem("data.calibration_images", f"there is no folder {folder}; check the path")
    elif not list_images(folder):
        yield Problem("data.calibration_images", f"{folder} holds no images; name another folder, or set it to null")


def _target(config: PipelineConfig) -> Iterator[Problem]:
    for name, text in not_for(config.compression):
        yield Problem(f"compression.{name}", text)
    if config.compression.teacher is not None:
        yield from _teacher(config.compression.teacher, config.compression.teacher_weights)
    if config.compression.target_map is not None and not scores_by_labels(config.compression):
        yield Problem("compression.target_map", TARGET_NEEDS)


def _light(config: PipelineConfig) -> Iterator[Problem]:
    """What a lighter model needs: a compression, and SiLU to exchange."""
    own, architecture = config.compression, config.model.architecture
    if not lightens(own):
        return
    key = "compression.activation" if own.activation not in (None, KEEP) else "compression.prune"
    if own.method == "none":
        yield Problem(key, "compression=none makes no INT8 model of the lighter one; choose ptq, qat_distill or auto")
    if own.activation == "hardswish" and config.export.opset < HARDSWISH_OPSET:
        yield Problem("compression.activation", OPSET_NEEDED)
    acts = {name: architecture.get(name, {}).get("act", "swish") for name in ("CSPResNet", "CustomCSPPAN")}
    if own.activation in ACTIVATIONS and not SILU & {*acts.values()}:
        has = ", ".join(dict.fromkeys(map(str, acts.values())))
        yield Problem(
            "compression.activation",
            f"backbone and neck of model={config.model.name} have no SiLU to exchange (they have {has}); set it to "
            "null",
        )


def _teacher(name: str, weights: str | None) -> Iterator[Problem]:
    if name not in (known := model_names()):
        yield Problem("compression.teacher", f"there is no model {name}{suggestion(close_to(name, known))}")
    if weights is not None and "://" in weights:
        yield Problem("compression.teacher_weights", "a URL is not fetched here; fetch the file and give its path")
    elif weights is not None and not Path(weights).is_file():
        yield Problem("compression.teacher_weights", f"there is no file {weights}; check the path")


def _blocks(config: PipelineConfig) -> Iterator[Problem]:
    """What judging single blocks needs: images with labels, and a backend."""
    labels, backend = config.sensitivity.labels, config.sensitivity.backend
    if backend is not None and backend not in backends.names():
        yield Problem("sensitivity.backend", f"there is no backend {backend} (there are {', '.join(backends.names())})")
    asked = config.compression.max_map_drop is not None
    if labels in (TRAIN, VAL) and not has_set(config, labels):
        yield Problem(
            "sensitivity.labels",
            f"there are no labelled images of {labels}; give data.{labels}_annotations and data.{labels}_images, "
            "or set it to auto",
        )
    elif asked and block_labels(config) == NONE:
        yield Problem(
            "compression.max_map_drop",
            "is judged on labelled images; give data.val_annotations and data.val_images (or data.train_annotations "
            "and data.train_images) and sensitivity.labels=auto, or set it to null",
        )
    if asked and config.compression.method == "none":
        yield Problem("compression.max_map_drop", "compression=none quantizes nothing; choose ptq or qat_distill")
    if asked and config.compression.method == AUTO:
        yield Problem(
            "compression.max_map_drop",
            "compression=auto leaves blocks in float by itself; give compression.max_drop and set this to null",
        )
    judged = asked or config.compression.method == AUTO
    if judged and backend in backends.names() and block_backend(config) not in config.backend:
        yield Problem(
            "sensitivity.backend", f"{backend} is none of the run's backends ({', '.join(config.backend)}); choose one"
        )


def _weights(weights: str) -> Iterator[Problem]:
    if "://" in weights:
        if not weights.startswith(("http://", "https://")):
            yield Problem("model.weights", f"{weights} is no http(s) URL; fetch the file and give its path")
        return
    path = Path(weights)
    if path.is_dir():
        hint = f"model.inference_dir={weights}" if any(path.glob("*.pdiparams")) else "the .pdparams file in it"
        yield Problem("model.weights", f"{weights} is a folder; give {hint}")
    elif not path.is_file():
        yield Problem("model.weights", f"there is no file {weights}; check the path")
    elif path.suffix in (".pdmodel", ".pdiparams", ".json"):
        yield Problem(
            "model.weights", f"{weights} is part of an exported model; give model.inference_dir={path.parent}"
        )


def _frozen(folder: Path) -> Iterator[Problem]:
    if not folder.is_dir():
        yield Problem("model.inference_dir", f"there is no folder {folder}; check the path")
        return
    try:
        find_export(folder)
    except WeightsError as error:
        yield Problem("model.inference_dir", str(error))


def _check_synthetic(data: DataOptions) -> Iterator[Problem]:
    if data.root is not None:
        yield Problem("data.root", "data=shapes draws its own images; for images of yours choose data=coco_folder")
    for key, name in _DRAWN.items():
        if getattr(data, key) != name:
            yield Problem(f"data.{key}", f"cannot be changed for data=shapes, which draws {name}")


def _data(config: PipelineConfig, finetune_only: bool) -> Iterator[Problem]:
    data, trains = config.data, finetune_only or config.finetune.enabled
    if data.root is not None and not Path(data.root).is_dir():
        yield Problem("data.root", f"there is no folder {data.root}; check the path")
        return  # the paths under it would say the same again
    labels = trains or (not finetune_only and scores_by_labels(config.compression))
    listed = converted(data) and data.train_annotations is not None  # the training images, without their labels
    needed = {"unlabeled_images": not (finetune_only or listed), "train_annotations": labels, "train_images": labels}
    needed |= {"val_annotations": data.val_images is not None, "val_images": data.val_annotations is not None}
    given = {"unlabeled_images"} if listed and data.unlabeled_images is not None else set()
    read = [key for key, need in needed.items() if need or key.startswith("val") or key in given]
    without_root = [key for key in read if _hangs_on_root(getattr(data, key)) and data.root is None]
    if without_root:
        yield Problem("data.root", "is not given; name the folder of your data set, e.g. data.root=/data/mine")
    for key in read:
        value = getattr(data, key)
        if key in without_root:
            continue
        if value is None:
            if needed[key]:
                yield Problem(f"data.{key}", "is not given; " + _PURPOSE[key])
        elif key.endswith("annotations") and not Path(value).is_file():
            yield Problem(f"data.{key}", f"there is no file {value}; check the path")
        elif key.endswith("images") and not Path(value).is_dir():
            yield Problem(f"data.{key}", f"there is no folder {value}; check the path")


_PURPOSE = {
    "unlabeled_images": "name the folder of images that the compression learns from",
    "train_annotations": "training, and compression.eval_by=map, need the COCO file of its images",
    "train_images": "training, and compression.eval_by=map, need the folder of its images",
    "val_annotations": "name the COCO file of data.val_images, or set both to null to measure speed only",
    "val_images": "name the folder that data.val_annotations lists, or set both to null to measure speed only",
}


def _hangs_on_root(value: str | None) -> bool:
    # ``${data.root}/train`` with a root of null resolves to this text.
    return value is not None and value.startswith("None/")
