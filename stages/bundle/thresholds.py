"""The thresholds that go with an engine: FP32's, as the application has them, and where they belong on its scores.

They stand in ``bundle.json``, in the section ``detpress`` of ``engine/infer_cfg.yml`` and in the properties of the ONNX
file, each time under ``thresholds`` in the form of `MovedThresholds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from stages.artifacts import Engine, Thresholds
from stages.errors import InputError
from stages.numerics.variants import engine_of
from stages.outside import files, records, yaml_text
from stages.outside.names import shown
from stages.outside.text import line
from stages.report.schema_thresholds import MovedThresholds, ThresholdsContent

KEY = "thresholds"
_FILE = "thresholds.json"
_NAMED = 6
"""Classes that a line names one by one."""


def of_engine(found: Thresholds | None, engine: Engine) -> MovedThresholds | None:
    """What a run found for an engine; ``None`` for FP32, and where the run named no threshold."""
    if found is None:
        return None
    content: ThresholdsContent = records.read(found.path(_FILE), ThresholdsContent)
    for one in content["engines"]:
        if one["precision"] == engine_of(engine.precision):
            return {
                "by": content["by"],
                "images": content["images"],
                "classes": [
                    {"label": of["name"], "base": of["base"], "threshold": round(of["threshold"], 6), "low": of["low"],
                     "high": of["high"]}
                    for of in one["classes"]
                ],
            }  # fmt: skip
    return None


def require_fitting(moved: MovedThresholds, labels: Sequence[str], said: str) -> MovedThresholds:
    """What was read from outside, if it is for the classes of the model. Raises InputError."""
    if [one["label"] for one in moved["classes"]] != list(labels):
        raise InputError(f"{said}: {KEY} are of other classes than the model's: refused; make the bundle again")
    for one in moved["classes"]:
        for value in (one["base"], one["threshold"]):
            if not 0 <= value <= 1:
                raise InputError(f"{said}: {KEY}: {shown(value)} is no score: refused; make the bundle again")
    return moved


def least_scores(moved: MovedThresholds) -> list[float]:
    """The least score of each class, in the model's order."""
    return [one["threshold"] for one in moved["classes"]]


def has_moved(moved: MovedThresholds | None) -> bool:
    """Whether any class's threshold is another than FP32's."""
    return moved is not None and any(one["threshold"] != one["base"] for one in moved["classes"])


def in_words(moved: MovedThresholds) -> str:
    """``RBC 0.5 to 0.431, WBC stays at 0.5``."""
    told = [
        f"{line(one['label'])} {one['base']:.3g} to {one['threshold']:.3f}"
        if one["threshold"] != one["base"]
        else f"{line(one['label'])} stays at {one['base']:.3g}"
        for one in sorted(moved["classes"], key=lambda one: one["threshold"] == one["base"])
    ]
    more = f" and {len(told) - _NAMED} more" if len(told) > _NAMED else ""
    return f"{', '.join(told[:_NAMED])}{more}"


def add_to_sidecar(path: Path, moved: MovedThresholds) -> None:
    """Write them into ``infer_cfg.yml``, whose other content stays as it is."""
    content: Any = yaml_text.parse(files.read_text(path))
    plain = {"by": moved["by"], "images": moved["images"], "classes": [dict(one) for one in moved["classes"]]}
    content["detpress"] = {**(content.get("detpress") or {}), KEY: plain}
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
