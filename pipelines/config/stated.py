"""What the files of an exported model state, and where the config says something else.

``infer_cfg.yml`` (or ``inference.yml``) says how images are prepared and what the classes are called, the program which
NMS follows. They were written by whoever trained the model: they count, and what contradicts them stops the run
(docs/decisions/0012-what-the-user-brings.md).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.config.keys import Problem
from pipelines.config.schema import PipelineConfig
from pipelines.config.values import check_values
from pipelines.system.output import say
from stages.detection.published import choice, of_the_other_family, same
from stages.detection.sidecar import Sidecar
from stages.errors import ConfigError
from stages.programs.files import find_export
from stages.programs.nms import stated_nms

LABELS, MEAN, STD, SCALE = "model.labels", "model.mean", "model.std", "model.scale"
_MODEL = (
    *("model.input_size", "model.interpolation", MEAN, STD, SCALE, "model.draw_threshold", LABELS),
)  # keys whose values the sidecar has under the same name
_NMS = "accuracy.nms."
_GENEROUS = {"score_threshold": min, "nms_top_k": max, "keep_top_k": max}
"""Which of two values lets more boxes through: mAP is over all of them, an export for use often keeps few."""


@dataclass(frozen=True)
class Stated:
    """One value, and the file that states it."""

    value: Any
    file: Path


def read_stated(folder: Path) -> dict[str, Stated]:
    """Config key -> what the export in a folder states about it.

    Raises:
        WeightsError: there is no export, or one of its files is damaged or asks for what is not done here.
    """
    files = find_export(folder)
    found: dict[str, Stated] = {}
    if files.settings:
        file = folder / files.settings
        sidecar = Sidecar.read(file)
        for key in _MODEL:
            value = getattr(sidecar, key.removeprefix("model."))
            value = list(value) if isinstance(value, tuple) else value
            if value != []:  # a file may leave out the labels
                found[key] = Stated(value, file)
    program = folder / files.program
    stat = program.stat()
    nms = _nms(program, stat.st_size, stat.st_mtime_ns) or {}
    return found | {f"{_NMS}{key}": Stated(value, program) for key, value in nms.items()}


@functools.lru_cache(maxsize=8)
def _nms(program: Path, _size: int, _time: int) -> dict[str, float] | None:
    """Read once a process: a check, a plan and a run all ask."""
    return stated_nms(program)


def contradictions(config: PipelineConfig, stated: dict[str, Stated], chosen: Iterable[str]) -> Iterator[Problem]:
    """Values that the user chose, and of which the export says something else.

    Args:
        chosen: keys that the user set, on the command line or in a file of his own.
    """
    yield from _other_family(config, stated)
    for key in chosen:
        own = value_of(config, key)
        if own is not None and key in stated and not _agree(key, own, stated[key].value):
            otherwise = "" if key.startswith(_NMS) else ", or correct the file if it is wrong"
            yield Problem(
                key,
                f"{_shown(own)} contradicts {stated[key].file}, which says {_shown(stated[key].value)}; leave it out"
                f"{otherwise}",
            )


def _other_family(config: PipelineConfig, stated: dict[str, Stated]) -> Iterator[Problem]:
    if not {MEAN, STD, SCALE} <= stated.keys():
        return
    mean, std, scale = (stated[key].value for key in (MEAN, STD, SCALE))
    if others := of_the_other_family(config.model.name, mean, std, scale):
        yield Problem(
            "model",
            f"{config.model.name} normalizes images with mean {_shown(config.model.mean)} and std "
            f"{_shown(config.model.std)}, but {stated[MEAN].file} says mean {_shown(mean)} and std {_shown(std)}: "
            f"choose {choice(others)}",
        )


def _agree(key: str, own: Any, said: Any) -> bool:
    # A label list of another length is PaddleDetection's default (COCO's names, where it did not find the label file):
    # the graph then tells how many classes there are.
    return same(own, said) or (key == LABELS and len(own) != len(said))


def with_stated(config: PipelineConfig) -> PipelineConfig:
    """The config with the values that the files of an exported model state; the same where none was brought.

    NMS follows the graph in the IoU of two boxes of one object. Its other thresholds only decide how many boxes are
    left, and mAP needs many: of the config's and the graph's, the one that keeps more counts.

    Raises:
        ConfigError: the model is evidently of another family, ``model.labels`` says something else, or a stated value
            cannot be used.
        WeightsError: see ``read_stated``.
    """
    if config.model.inference_dir is None:
        return config
    stated = read_stated(Path(config.model.inference_dir))
    if problems := [str(p) for p in contradictions(config, stated, [LABELS])]:
        raise ConfigError(problems)
    model = {key.removeprefix("model."): stated[key].value for key in _MODEL if key in stated}
    if config.model.labels:
        model.pop("labels", None)
    nms: dict[str, Any] = {}
    for name in dataclasses.asdict(config.accuracy.nms):
        if (said := stated.get(_NMS + name)) is None:
            continue
        own = getattr(config.accuracy.nms, name)
        nms[name] = type(own)(_GENEROUS[name](own, said.value) if name in _GENEROUS else said.value)
        if not same(nms[name], said.value):
            _tell(f"{said.file} keeps fewer boxes ({name} {said.value:g}) than mAP is measured on ({nms[name]:g})")
    made = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **model),
        accuracy=dataclasses.replace(config.accuracy, nms=dataclasses.replace(config.accuracy.nms, **nms)),
    )
    if wrong := [f"{p} ({stated[p.key].file} says so)" for p in check_values(made) if p.key in stated]:
        raise ConfigError(wrong)
    return made


def value_of(config: PipelineConfig, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _shown(value: Any) -> str:
    if isinstance(value, list):
        more = [f"and {len(value) - 6} more"] if len(value) > 6 else []
        return "[" + ", ".join([*(_shown(v) for v in value[:6]), *more]) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _tell(text: str) -> None:
    say(f"note: {text}")
