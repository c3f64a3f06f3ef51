"""The checkpoint in artifacts/demo is the one its README describes, and fits the drawn data set."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from stages.data.weights import read_pdparams
from stages.detection.shapes import LABELS
from tests.conftest import ROOT

DEMO = ROOT / "artifacts" / "demo"
CHECKPOINT = DEMO / "ppyoloe_tiny_shapes.pdparams"


def test_the_readme_names_this_file() -> None:
    readme = (DEMO / "README.md").read_text()
    stated = re.findall(r"`([0-9a-f]{64})`", readme)
    assert stated == [hashlib.sha256(CHECKPOINT.read_bytes()).hexdigest()]
    assert f"{CHECKPOINT.stat().st_size:,} bytes" in readme
    assert "detpress finetune experiment=demo_checkpoint out=" in readme
    assert CHECKPOINT.stat().st_size < 10_000_000


def test_it_is_a_detector_of_the_drawn_shapes() -> None:
    arrays = read_pdparams(CHECKPOINT)
    heads = [a for name, a in arrays.items() if re.fullmatch(r"yolo_head\.pred_cls\.\d\.weight", name)]
    assert [a.shape[0] for a in heads] == [len(LABELS)] * 3
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert all(a.dtype == np.float32 for a in arrays.values())
