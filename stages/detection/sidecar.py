"""The file beside a model that says how to feed it: ``infer_cfg.yml`` in PaddleDetection's form.

PaddleDetection's own deployment code can read it; what it has no field for stands in the section ``detpress``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from stages.errors import WeightsError
from stages.options.model import INTERPOLATIONS, ModelOptions
from stages.outside import files, yaml_text
from stages.outside.names import shown

FILE_NAME = "infer_cfg.yml"
SCHEMA_VERSION = 1
LONGEST_SIDE = 1 << 14
"""Pixels of a side of a network's input."""
_LARGEST = 16 << 20


@dataclass(frozen=True)
class Sidecar:
    """Preprocessing, labels and layout of one exported detector.

    Attributes:
        input_size: height, width of the network input; the aspect ratio is not kept.
        interpolation: a key of ``INTERPOLATIONS``.
        mean, std: per channel in the order R, G, B, of values scaled to 0..1 (if ``scale``).
        scale: divide pixels by 255 first.
        labels: class names in the order of class index.
        category_ids: the data set's category id of each class; empty if not known.
        image_input, scale_input, boxes_output, scores_output: tensor names of the graph.
        scale_factor: the graph takes (scale_y, scale_x) and gives boxes in pixels of the original image.
    """

    input_size: tuple[int, int]
    interpolation: str = "cubic"
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    scale: bool = True
    labels: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()
    image_input: str = "image"
    scale_input: str = "scale_factor"
    boxes_output: str = ""
    scores_output: str = ""
    scale_factor: bool = True
    arch: str = "YOLO"
    draw_threshold: float = 0.5
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_model(cls, model: ModelOptions, **names: Any) -> Sidecar:
        """The sidecar of a model; ``names`` sets further fields (tensor names, ``scale_factor``, ...)."""
        if model.interpolation not in INTERPOLATIONS:
            raise WeightsError(
                f"model.interpolation={model.interpolation!r} is not known; use one of {', '.join(INTERPOLATIONS)}"
            )
        height, width = model.input_size
        own = cls(
            input_size=(int(height), int(width)),
            interpolation=model.interpolation,
            mean=tuple(float(v) for v in model.mean),
            std=tuple(float(v) for v in model.std),
            scale=bool(model.scale),
            draw_threshold=float(model.draw_threshold),
            labels=tuple(model.labels or ()),
        )
        return replace(own, **names)

    def write(self, path: Path) -> Path:
        """Write the file; ``path`` may be a folder, then it is called ``infer_cfg.yml``. Returns its path."""
        path = path / FILE_NAME if path.is_dir() else path
        path.write_text(yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True), encoding="utf-8")
        return path

    def as_dict(self) -> dict[str, Any]:
        """The content of the file."""
        plain = all(v == 0 for v in self.mean) and all(v == 1 for v in self.std)
        return {
            "mode": "paddle",
            "arch": self.arch,
            "metric": "COCO",
            "use_dynamic_shape": False,
            "min_subgraph_size": 3,
            "draw_threshold": self.draw_threshold,
            "Preprocess": [
                {
                    "type": "Resize",
                    "target_size": list(self.input_size),
                    "keep_ratio": False,
                    "interp": INTERPOLATIONS[self.interpolation],
                },
                {
                    "type": "NormalizeImage",
                    "mean": list(self.mean),
                    "std": list(self.std),
                    "is_scale": self.scale,
                    "norm_type": "none" if plain else "mean_std",
                },
                {"type": "Permute"},
            ],
            "label_list": list(self.labels),
            "detpress": {
                "schema_version": SCHEMA_VERSION,
                "category_ids": list(self.category_ids),
                "image_input": self.image_input,
                "scale_input": self.scale_input,
                "scale_factor": self.scale_factor,
                "boxes_output": self.boxes_output,
                "boxes_layout": "[batch, anchors, (x1, y1, x2, y2)]",
                "scores_output": self.scores_output,
                "scores_layout": "[batch, classes, anchors]",
                "nms": "outside",
                **self.extra,
            },
        }

    @classmethod
    def read(cls, path: Path) -> Sidecar:
        """Read the file (``path`` may be its folder), also one that PaddleDetection wrote.

        Raises:
            WeightsError: missing, no YAML mapping, or a preprocessing step this project does not do.
        """
        path = path / FILE_NAME if path.is_dir() else path
        try:
            content = yaml_text.parse(files.read_text(path, most=_LARGEST))
        except OSError as error:
            raise WeightsError(f"{path} cannot be read ({error.strerror}); it has to lie beside the model") from error
        except ValueError as error:  # UnicodeDecodeError is one
            raise WeightsError(f"{path} is not valid YAML ({error}); export the model again") from error
        if not isinstance(content, dict) or not isinstance(content.get("Preprocess"), list):
            raise WeightsError(
                f"{path} has no list `Preprocess`; give the infer_cfg.yml that was exported with the model"
            )
        try:
            return cls._from_dict(content, path)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise WeightsError(f"{path} is incomplete or malformed ({error!r}); export the model again") from error

    @classmethod
    def _from_dict(cls, content: dict[str, Any], path: Path) -> Sidecar:
        resize: dict[str, Any] | None = None
        normalize: dict[str, Any] = {"norm_type": "none", "is_scale": False}
        for step in content["Preprocess"]:
            kind = step["type"]
            if kind == "Resize":
                resize = step
            elif kind == "NormalizeImage":
                normalize = step
            elif kind != "Permute":
                raise WeightsError(f"{path} asks for the preprocessing step {kind!r}, which is not supported; "
                                   "export the model with Resize, NormalizeImage and Permute only")  # fmt: skip
        if resize is None or resize.get("keep_ratio", True):
            raise WeightsError(f"{path} has to resize without keeping the aspect ratio (Resize, keep_ratio: false); "
                               "export the model with a fixed input size")  # fmt: skip
        interpolation = {number: name for name, number in INTERPOLATIONS.items()}[int(resize.get("interp", 1))]
        plain = normalize.get("norm_type", "mean_std") == "none"
        own = dict(content.get("detpress") or {})
        own_names = ("image_input", "scale_input", "boxes_output", "scores_output", "scale_factor")
        known = {name: own.pop(name) for name in own_names if name in own}
        if wrong := [name for name in known if not isinstance(known[name], bool if name == "scale_factor" else str)]:
            raise ValueError(f"detpress.{wrong[0]} is {known[wrong[0]]!r}")
        category_ids = tuple(int(v) for v in own.pop("category_ids", ()))
        for written in ("schema_version", "boxes_layout", "scores_layout", "nms"):
            own.pop(written, None)
        height, width = resize["target_size"]
        if max(int(height), int(width)) > LONGEST_SIDE:  # what else does not fit, those say who know where it belongs
            raise ValueError(f"target_size {height} x {width}")
        return cls(
            input_size=(int(height), int(width)),
            interpolation=interpolation,
            mean=(0.0, 0.0, 0.0) if plain else _three(normalize["mean"]),
            std=(1.0, 1.0, 1.0) if plain else _three(normalize["std"], zero=False),
            scale=bool(normalize.get("is_scale", True)),
            labels=tuple(map(_label, content.get("label_list") or ())),
            category_ids=category_ids,
            arch=str(content.get("arch", "YOLO")),
            draw_threshold=float(content.get("draw_threshold", 0.5)),
            extra=own,
            **known,
        )


def _three(values: Any, *, zero: bool = True) -> tuple[float, ...]:
    """A number for each channel. Raises ValueError for other than three, infinite ones, and zeros unless allowed."""
    found = tuple(float(value) for value in values)
    if len(found) != 3 or not all(math.isfinite(value) and (zero or value) for value in found):
        raise ValueError(f"{shown(values)} where three numbers belong")
    return found


def _label(value: Any) -> str:
    """A class name, which a YAML file may have as a number, a date, or true."""
    if isinstance(value, (dict, list, set, tuple)):
        raise ValueError(f"label_list has {type(value).__name__} where a name belongs")
    return str(value)
