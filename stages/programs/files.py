"""Which files of a folder are the exported model: PaddleDetection, PaddleX and FastDeploy name them differently."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from stages.errors import WeightsError

STEMS = ("model", "inference")
PROGRAMS = (".pdmodel", ".json")
"""Endings of a program: the format up to Paddle 2, and Paddle 3's."""
PARAMS = ".pdiparams"
SETTINGS = ("infer_cfg.yml", "inference.yml")
"""What may lie beside it and say how images are prepared and what the classes are called."""
NEEDED = "model.pdmodel or inference.pdmodel, or Paddle 3's inference.json or model.json, and its .pdiparams"


@dataclass(frozen=True)
class ExportFiles:
    """The files of one exported model, by name in their folder; ``settings`` is "" where none lies there."""

    program: str
    params: str
    settings: str = ""


def find_export(folder: Path) -> ExportFiles:
    """The exported model in a folder.

    Raises:
        WeightsError: none is there, several are, or one lacks its parameters.
    """
    programs = [f"{stem}{ending}" for stem in STEMS for ending in PROGRAMS if (folder / f"{stem}{ending}").is_file()]
    if not programs:
        raise WeightsError(f"{folder} lacks an exported model; it needs {NEEDED}")
    if len(programs) > 1:
        raise WeightsError(
            f"{folder} has several exported models: {', '.join(programs)}; move all but one of them elsewhere"
        )
    params = Path(programs[0]).stem + PARAMS
    if not (folder / params).is_file():
        raise WeightsError(f"{folder} lacks {params}, the parameters of {programs[0]}; copy it there too")
    settings = [name for name in SETTINGS if (folder / name).is_file()]
    if len(settings) > 1:
        raise WeightsError(
            f"{folder} has {' and '.join(settings)}, which may differ; keep the one that was exported with the model"
        )
    return ExportFiles(programs[0], params, settings[0] if settings else "")
