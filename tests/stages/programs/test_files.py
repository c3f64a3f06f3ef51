"""Which files of a folder are the export."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.errors import WeightsError
from stages.programs.files import ExportFiles, find_export


def touched(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize("stem", ["model", "inference"])
@pytest.mark.parametrize("ending", ["pdmodel", "json"])
@pytest.mark.parametrize("settings", ["", "infer_cfg.yml", "inference.yml"])
def test_every_name_in_use_is_found(stem: str, ending: str, settings: str, tmp_path: Path) -> None:
    names = [f"{stem}.{ending}", f"{stem}.pdiparams", settings]
    touched(tmp_path, *filter(None, names))
    assert find_export(tmp_path) == ExportFiles(*names)


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "lacks an exported model; it needs model.pdmodel or inference.pdmodel"),
        (["model.pdiparams"], "lacks an exported model"),
        (["inference.json"], "lacks inference.pdiparams, the parameters of inference.json"),
        (["model.pdmodel", "inference.pdiparams"], "lacks model.pdiparams"),
        (
            ["model.pdmodel", "model.pdiparams", "inference.json", "inference.pdiparams"],
            "several exported models: model.pdmodel, inference.json",
        ),
        (["inference.pdmodel", "inference.json", "inference.pdiparams"], "inference.pdmodel, inference.json"),
        (["model.pdmodel", "model.pdiparams", "infer_cfg.yml", "inference.yml"], "infer_cfg.yml and inference.yml"),
    ],
)
def test_what_is_missing_or_too_much_is_listed(names: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        find_export(touched(tmp_path, *names))
    assert says in str(caught.value)
