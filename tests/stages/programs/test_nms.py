"""The thresholds of an export's NMS, read from programs of both formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.errors import WeightsError
from stages.programs.nms import stated_nms
from tests.stages.programs.writing import operator, pdmodel, program, typed

NMS = {"score_threshold": 0.01, "nms_top_k": 1000, "keep_top_k": 300, "nms_threshold": 0.7, "background_label": -1}
READ = {"score_threshold": 0.01, "nms_threshold": 0.7, "nms_top_k": 1000, "keep_top_k": 300}


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
