"""Detectors from PaddleDetection's registry, and their weights.

ppdet keeps one global configuration for everything it creates. Here it is filled for one build and put back afterwards,
so that two models built in one process know nothing of each other.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paddle
from ppdet.core import workspace
from ppdet.core.config.schema import SchemaDict
from ppdet.modeling.backbones.cspresnet import RepVggBlock

from stages.data.weights import read_pdparams
from stages.detection.published import choice, of_checkpoint
from stages.errors import ConfigError, WeightsError
from stages.options.model import ModelOptions

# Parameters whose shape depends on the number of classes: the only ones a fine-tuning may start afresh.
_CLASS_LAYERS = ("pred_cls.", "gfl_cls.")
# Layers that exist in training only (an auxiliary head and its neck): an exported checkpoint may lack them.
TRAINING_ONLY = ("aux_neck.", "aux_head.")
# The projection of the box distribution is the constant 0, 1, ..., reg_max; averaged weights may come without it.
_CONSTANTS = ("yolo_head.proj_conv.weight",)


@dataclass(frozen=True)
class LoadReport:
    """What ``load_weights`` did; all lists hold parameter names."""

    loaded: int
    reinitialized: list[str] = field(default_factory=list)  # class layers with another number of classes
    absent: list[str] = field(default_factory=list)  # training-only layers and constants the file does not have
    unused: list[str] = field(default_factory=list)  # in the file, not in the model
    classes: int = 0  # that the file knows; 0: it has no class layer


@contextmanager
def _clean_config() -> Iterator[Any]:
    """ppdet's global configuration, restored on exit."""
    config = workspace.global_config
    modules = {name: dict(value) for name, value in config.items() if isinstance(value, SchemaDict)}
    others = {name: value for name, value in config.items() if not isinstance(value, SchemaDict)}
    try:
        yield config
    finally:
        for name in list(config):
            if name in modules:
                config[name].clear()
                config[name].update(modules[name])
            elif name in others:
                config[name] = others[name]
            else:
                del config[name]


def _problems(architecture: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """Entries and keys ppdet does not know: it would accept many of them and ignore them."""
    modules = [name for name, value in config.items() if isinstance(value, SchemaDict)]
    found = []
    for name, value in architecture.items():
        if not isinstance(value, Mapping):
            continue
        if name not in modules:
            near = difflib.get_close_matches(name, modules, n=1)
            found.append(f"model.architecture.{name}: unknown module" + (f"; did you mean {near[0]}?" if near else ""))
            continue
        known = list(config[name].schema)
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
                found.append(f"model.architecture.{name}.{key}: unknown key; {hint}")
    main = architecture.get("architecture")
    if main not in modules:
        found.append(f"model.architecture.architecture: {main!r} is no module of PaddleDetection; try YOLOv3")
    return found


def build_detector(
    model: ModelOptions,
    num_classes: int,
    *,
    exclude_nms: bool = False,
    exclude_post_process: bool = False,
    eval_size: list[int] | None = None,
) -> Any:
    """A ``paddle.nn.Layer`` of ``model.architecture`` with random weights, in training mode.

    The keyword arguments are ppdet's for a model that is going to be frozen: ``exclude_nms`` gives boxes
    [B, N, 4] divided by ``scale_factor`` and scores [B, C, N]; ``exclude_post_process`` gives one tensor
    [B, N, 4 + C] in pixels of the input; ``eval_size`` (height, width) computes the anchor points once for that size.

    Raises:
        ConfigError: entries or keys that ppdet does not have (all of them are named).
    """
    with _clean_config() as config:
        problems = _problems(model.architecture, config)
        if problems:
            raise ConfigError(problems)
        shared = {
            "num_classes": num_classes,
            "exclude_nms": exclude_nms,
            "exclude_post_process": exclude_post_process,
            "eval_size": eval_size,
            "trt": False,
            "norm_type": "bn",
        }
        for name, value in {**model.architecture, **shared}.items():
            if isinstance(value, Mapping):
                config[name].update({key: _plain(v) for key, v in value.items()})
            else:
                config[name] = value
        return workspace.create(str(model.architecture["architecture"]))


def _plain(value: Any) -> Any:
    """A deep copy in plain dicts and lists: ppdet writes into what it is given."""
    if isinstance(value, Mapping):
        return {key: _plain(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def merge_branches(layer: Any) -> None:
    """Turn each 3x3 + 1x1 block into the one convolution it equals, in place (RepVGG, arXiv:2101.03697).

    For a model in evaluation mode that is going to be frozen; it cannot be trained afterwards.
    """
    for sublayer in layer.sublayers():
        if hasattr(sublayer, "convert_to_deploy"):
            sublayer.convert_to_deploy()


def count_parameters(layer: Any, *, merged: bool = True) -> int:
    """Trained numbers in ``layer``: no running statistics of batch normalization, no training-only layers.

    With ``merged`` each 3x3 + 1x1 block counts as the one convolution it becomes, as in PaddleDetection's tables.
    """
    total = _trained(layer, skip=TRAINING_ONLY)
    if merged:
        for name, block in layer.named_sublayers():
            if isinstance(block, RepVggBlock) and not name.startswith(TRAINING_ONLY):
                total += 9 * block.ch_in * block.ch_out + block.ch_out - _trained(block)
    return total


def _trained(layer: Any, skip: tuple[str, ...] = ()) -> int:
    return sum(int(p.size) for n, p in layer.named_parameters() if not p.stop_gradient and not n.startswith(skip))


def load_weights(layer: Any, path: Path | str, allow_class_mismatch: bool = False) -> LoadReport:
    """Fill ``layer`` with the weights of a ``.pdparams`` file.

    Args:
        layer: a detector made by ``build_detector``.
        path: the file; it is only read.
        allow_class_mismatch: let class layers of another number of classes keep their fresh weights (fine-tuning).

    Raises:
        WeightsError: the file is no checkpoint, is of another architecture (parameters are missing, left over, or of
            another shape), or of another number of classes. Where it can be told, the model that would fit is named.
    """
    path = Path(path)
    own = layer.state_dict()
    given = read_pdparams(path)
    missing = [name for name in own if name not in given]
    absent = [name for name in missing if name.startswith(TRAINING_ONLY) or name in _CONSTANTS]
    lacking = [name for name in missing if name not in absent]
    fit = of_checkpoint({name: array.shape for name, array in given.items()})
    hint = f"It fits {choice(fit)}: choose that" if fit else "Choose the model it was trained as (model=...)"
    if lacking:
        raise WeightsError(
            f"{path} does not fit the model: {len(lacking)} of {len(own)} parameters are missing, the first is "
            f"{lacking[0]}. {_hint(lacking, own, given, hint)}, or another checkpoint (model.weights=...)."
        )
    differing = [name for name in own if name in given and tuple(own[name].shape) != given[name].shape]
    classes = [name for name in differing if _is_class_layer(name)]
    others = [name for name in differing if name not in classes]
    if others:
        name = others[0]
        raise WeightsError(
            f"{path} does not fit the model: {name} has shape {list(given[name].shape)}, the model's is "
            f"{list(own[name].shape)} ({len(others)} such parameters). {hint}."
        )
    unused = [name for name in given if name not in own]
    left = [name for name in unused if not name.startswith(TRAINING_ONLY) and name not in _CONSTANTS]
    if left:
        raise WeightsError(
            f"{path} does not fit the model: {len(left)} of its {len(given)} parameters have no place in it, the first "
            f"is {left[0]}. {_hint(left, own, given, hint)}."
        )
    if classes and not allow_class_mismatch:
        theirs, ours = given[classes[0]].shape[0], own[classes[0]].shape[0]
        raise WeightsError(
            f"{path} was trained for {theirs} classes, the data or model.labels have {ours}. "
            "Give the matching labels (model.labels=[...]), or fine-tune it (finetune.enabled=true)."
        )
    usable = {n: paddle.to_tensor(given[n].astype(_dtype_of(own[n]))) for n in own if n in given and n not in classes}
    layer.set_state_dict({**own, **usable})
    known = next((given[name].shape[0] for name in given if _is_class_layer(name)), 0)
    return LoadReport(loaded=len(usable), reinitialized=classes, absent=absent, unused=unused, classes=int(known))


def _hint(names: list[str], own: Mapping[str, Any], given: Mapping[str, Any], usual: str) -> str:
    """What to choose; where model and file differ in nothing but ``alpha``, the weights of 1x1 branches, also the key
    that takes the file as it is.

    PaddleDetection trains PP-YOLOE+ without them on Objects365, with them in the neck too on SKU-110K.

    Args:
        names: the parameters that only one of the two has.
        own, given: the model's and the file's parameters.
        usual: what to say otherwise.
    """
    same_size = all(tuple(own[n].shape) == given[n].shape for n in own if n in given and not _is_class_layer(n))
    if not same_size or not all(name.endswith(".alpha") for name in names):
        return usual
    there = names[0] in given
    if all(name.startswith("neck.") for name in names):
        return f"Choose model.architecture.CustomCSPPAN.use_alpha={str(there).lower()}"
    if there:
        return usual
    return (
        f"{usual}; a PP-YOLOE+ that was trained without alpha, as PaddleDetection's for Objects365 are, fits with "
        "model.architecture.CSPResNet.use_alpha=false"
    )


def _is_class_layer(name: str) -> bool:
    return any(mark in name for mark in _CLASS_LAYERS)


def _dtype_of(tensor: Any) -> str:
    return str(tensor.dtype).rsplit(".", 1)[-1]
