"""What PaddleDetection exports under Paddle 3 computes what it exports under Paddle 2.6, in every form.

Paddle 3 and Paddle 2.6 cannot be in one environment. ``DETPRESS_PADDLE3=FOLDER`` names a virtual environment with
Paddle 3 and PaddleDetection, or a folder that is not there yet: then they are installed into it, which takes 200 MB and
a few minutes. Without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.detection.nms import multiclass_nms
from stages.options.accuracy import NmsOptions
from tests.conftest import ROOT
from tests.stages.paddle.models.test_models import compose
from tests.stages.workers import probed

pytestmark = pytest.mark.slow
VARIABLE = "DETPRESS_PADDLE3"
PACKAGES = (
    *("paddlepaddle==3.3.1", "numpy<2.3", "setuptools", "pyyaml", "scipy", "tqdm", "opencv-python-headless==4.10.0.84"),
    *("pycocotools", "requests", "six", "pandas", "motmetrics", "lap", "pyclipper", "shapely", "terminaltables"),
    *("typeguard", "Cython", "matplotlib", "scikit-learn"),
)
SIZE, CLASSES = 320, ["circle", "square", "triangle", "star", "ring"]
NORMALIZE = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "is_scale": True}
FORMS: dict[str, dict[str, Any]] = {
    "with_nms": {},
    "anchors_in_the_graph": {"eval_size": False},
    "exclude_nms": {"exclude_nms": True},
    "exclude_post_process": {"exclude_post_process": True},
    "trt": {"trt": True},
    "fuse_conv_bn": {"fuse_conv_bn": True},
    "fuse_normalize": {"fuse_normalize": NORMALIZE},
    "batch_1": {"batch": 1},
}
MODELS = ("ppyoloe_tiny", "ppyoloe_plus_t", "ppyoloe_plus_s")


def fields(name: str) -> dict[str, Any]:
    return {**compose(name), "input_size": [SIZE, SIZE], "labels": CLASSES}


@pytest.fixture(scope="module")
def python() -> str:
    """The interpreter of the environment with Paddle 3."""
    if VARIABLE not in os.environ:
        pytest.skip(f"needs Paddle 3 in an environment of its own; {VARIABLE}=FOLDER names it, or where to install it")
    folder = Path(os.environ[VARIABLE]).resolve()
    own = folder / "bin" / "python"
    if not own.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=300)
        for more in (PACKAGES, ("--no-deps", "paddledet==2.6.0")):
            done = subprocess.run(
                [str(own), "-m", "pip", "install", "--quiet", *more], capture_output=True, text=True, timeout=1800
            )
            if done.returncode != 0:
                own.unlink()  # so that the next run tries again
                pytest.skip(f"Paddle 3 cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return str(own)


@pytest.fixture(scope="module")
def exports(python: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every form of the tiny model, and two of PP-YOLOE+, with the outputs of Paddle 3 and of Paddle 2.6."""
    folder = tmp_path_factory.mktemp("paddle3")
    np.save(folder / f"image-{SIZE}.npy", np.random.default_rng(2).standard_normal((1, 3, SIZE, SIZE), np.float32))
    theirs, ours = dict[str, Any](), dict[str, Any]()
    for name in MODELS:
        (folder / name).mkdir()
        forms = FORMS if name == "ppyoloe_tiny" else {f: FORMS[f] for f in ("with_nms", "exclude_nms")}
        probed_forms(folder / name, fields(name))
        weights = str(folder / name / "checkpoint" / "model.pdparams")
        own = {"architecture": compose(name)["architecture"], "classes": len(CLASSES), "size": SIZE, "weights": weights}
        theirs |= {f"{name}-{form}": {**own, "form": switches} for form, switches in forms.items()}
        ours[f"{name}-reference"] = brought(folder / name / "without_nms", "model.pdmodel", name)
    done = subprocess.run(
        [python, str(ROOT / "tests" / "stages" / "paddle" / "probe_paddle3.py"), str(folder)],
        input=json.dumps(theirs), capture_output=True, text=True, timeout=1800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ours |= {name: brought(folder / name, "inference.json", name.partition("-")[0]) for name in theirs}
    probed("tests.stages.paddle.probe_brought", str(folder), given=ours, timeout=1200)
    return folder


def probed_forms(folder: Path, model: dict[str, Any]) -> None:
    """The checkpoint and Paddle 2.6's exports (see ``probe_forms``)."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.stages.paddle.probe_forms", str(folder)],
        input=json.dumps(model), capture_output=True, text=True, timeout=900, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]


def brought(folder: Path, program: str, model: str) -> dict[str, Any]:
    params = str(folder / program).rpartition(".")[0] + ".pdiparams"
    return {"program": str(folder / program), "params": params, "model": fields(model)}


CASES = [f"ppyoloe_tiny-{form}" for form in FORMS] + [
    f"{name}-{form}" for name in MODELS[1:] for form in ("with_nms", "exclude_nms")
]


@pytest.mark.parametrize("name", CASES)
def test_an_export_of_paddle_3_gives_the_outputs_of_paddle_3(name: str, exports: Path) -> None:
    with np.load(exports / f"{name}.npz") as ours, np.load(exports / name / "outputs.npz") as theirs:
        boxes, scores = ours["boxes"], ours["scores"]
        expected = [theirs[key] for key in theirs.files]
    if expected[0].ndim == 3 and len(expected) == 1:
        near(boxes, expected[0][..., :4])
        near(scores, expected[0][..., 4:].transpose(0, 2, 1))
    elif expected[0].ndim == 3:
        near(boxes, expected[0])
        near(scores, expected[1])
    else:
        found = multiclass_nms(boxes[0], scores[0], NmsOptions())
        assert len(found) == len(expected[0]) > 0
        near(np.sort(found[:, 1]), np.sort(expected[0][:, 1]))
        near(np.sort(found[:, 2:], axis=0), np.sort(expected[0][:, 2:], axis=0))


@pytest.mark.parametrize("name", [n for n in CASES if "fuse_normalize" not in n])
def test_an_export_of_paddle_3_gives_the_outputs_of_its_export_by_paddle_2(name: str, exports: Path) -> None:
    reference = exports / f"{name.partition('-')[0]}-reference.npz"
    with np.load(exports / f"{name}.npz") as found, np.load(reference) as expected:
        near(found["boxes"], expected["boxes"])
        near(found["scores"], expected["scores"])


def near(found: Any, expected: Any) -> None:
    """Equal to 1e-5 of the largest value."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
