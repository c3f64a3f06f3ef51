"""Which files of a folder are the export, and the NMS that they state."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.errors import WeightsError
from stages.programs.files import ExportFiles, find_export
from stages.programs.nms import stated_nms
from tests.stages.programs.writing import operator, pdmodel, program, typed

NMS = {"score_threshold": 0.01, "nms_top_k": 1000, "keep_top_k": 300, "nms_threshold": 0.7, "background_label": -1}
READ = {"score_threshold": 0.01, "nms_threshold": 0.7, "nms_top_k": 1000, "keep_top_k": 300}


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


def test_the_thresholds_of_both_formats(tmp_path: Path) -> None:
    old, new = tmp_path / "model.pdmodel", tmp_path / "inference.json"
    old.write_bytes(pdmodel(("conv2d", {"groups": 1}), ("multiclass_nms3", NMS)))
    new.write_text(json.dumps(program([operator("1.multiclass_nms3", [0], {1: typed("float32", [-1, 6])}, NMS)])))
    assert stated_nms(old) == stated_nms(new) == READ
    old.write_bytes(pdmodel(("conv2d", {"groups": 1})))
    assert stated_nms(old) is None


def test_a_damaged_program_is_refused_or_states_nothing(tmp_path: Path) -> None:
    whole, file = pdmodel(("multiclass_nms3", NMS)), tmp_path / "model.pdmodel"
    for length in range(1, len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="is no program of Paddle"):
            stated_nms(file)
