"""Inputs that are odd in one way each: every one gives its right mAP, or one refusal that says what is wrong.

The files lie beside the checkout (``tests/conftest.py``). A case is a folder with the files in which it differs from
``base``: 24 validation and 16 training images of drawn shapes, for the demo's detector, whose mAP there is 44.97. The
stages are those of a run, with the config that a run makes of the same words; what is equal between cases is made once.
"""

from __future__ import annotations

import gzip
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pipelines.config import resolvers, schema
from pipelines.config.check import check_command
from pipelines.config.compose import Command
from pipelines.graph.compress import compress_graph
from pipelines.graph.user_inputs import user_model, with_labels
from stages.artifacts import Artifact, digest_of
from stages.catalog import stage_class
from stages.errors import InputError
from tests.conftest import ROOT
from tests.fakes import FakeContext
from tests.stages.workers import Worker

pytestmark = pytest.mark.slow
RIGHT = 44.97
"""mAP of the demo's detector on ``base``, by pycocotools."""
LABELS = "model.labels=[circle,square,triangle,star,ring]"
DEMO = f"model.weights={ROOT / 'artifacts' / 'demo' / 'ppyoloe_tiny_shapes.pdparams'}"
PIR = ROOT / "tests" / "stages" / "paddle" / "pir" / "ppyoloe_tiny.json.gz"
NEEDED = ("collect_labeled", "collect_unlabeled", "finetune", "export", "build", "accuracy")
IN_A_PROCESS = ("finetune", "export")  # they load Paddle


@dataclass
class Scored:
    """mAP in points, what pycocotools said of it, and what the stages warned of and told."""

    map: float
    checked: bool
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)


class Bench:
    """Runs the stages that a score needs; a stage with the same key runs once."""

    def __init__(self, quirks: Path, folder: Path) -> None:
        self.quirks, self.folder = quirks, folder
        self._made: dict[str, tuple[Artifact, list[str], list[str]]] = {}
        self.base = self.laid_out("base")

    def laid_out(self, case: str) -> Path:
        """``base`` with the files of the case over it."""
        out = self.folder / case
        if not out.exists():
            shutil.copytree(self.quirks / "base", out)
            for path in [out, *out.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            if case != "base":
                for path in (p for p in (self.quirks / case).rglob("*") if p.is_file()):
                    target = out / path.relative_to(self.quirks / case)
                    target.parent.mkdir(exist_ok=True)
                    target.unlink(missing_ok=True)
                    target.write_bytes(path.read_bytes())
        return out

    def score(self, root: Path, *overrides: str) -> Scored:
        """What ``detpress compress compression=none data.root=ROOT OVERRIDES`` scores."""
        schema.register()
        resolvers.register_resolvers()
        own = ["model=ppyoloe_tiny", "data=coco_folder", f"data.root={root}", "compression=none", "agreement=none"]
        own += [f"data.unlabeled_images={self.base / 'train'}", *overrides]
        config = with_labels(check_command(Command(own))[0])
        artifacts: dict[str, Artifact] = {}
        said = Scored(0.0, False)
        for node in compress_graph(config, user_model(config), threads=1):
            if node.stage in NEEDED:
                artifact, warnings, infos = self._run(node, node.resolve(artifacts))
                artifacts[node.id] = artifact
                said.warnings += warnings
                said.infos += infos
        content = json.loads(artifacts["accuracy.onnxruntime.fp32"].path("accuracy.json").read_text())
        said.map, said.checked = content["map"], content["checked"]
        return said

    def _run(self, node: Any, inputs: Any) -> tuple[Artifact, list[str], list[str]]:
        key = digest_of(node.key(inputs, 0).parts)
        if key not in self._made:
            folder = self.folder / "stages" / f"{len(self._made)}-{node.id}"
            if node.stage in IN_A_PROCESS:
                worker = Worker(folder, node.stage, node.options, inputs, seed=0)
                if worker.wait() != 0:
                    raise InputError(worker.events[-1]["message"])
                self._made[key] = worker.result, worker.said("warning"), worker.said("info")
            else:
                context = FakeContext(folder)
                made = stage_class(node.stage)(node.options).run(inputs, context)
                self._made[key] = made, context.warnings, context.infos
        return self._made[key]


@pytest.fixture(scope="module")
def bench(quirks: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(quirks, tmp_path_factory.mktemp("quirks"))


DATA = {  # case: mAP, words of a warning that has to be there
    "base": (RIGHT, ""),
    "cat_order_file": (RIGHT, ""),
    "iscrowd_text_zero": (RIGHT, ""),
    "huge_image_ids": (RIGHT, ""),
    "float_ids": (RIGHT, ""),
    "file_name_backslash": (RIGHT, ""),
    "unused_category": (RIGHT, "no box is of them"),
    "exif_sizes_swapped": (34.72, "another size than their labels say"),
    "ids_from_zero_no_area": (RIGHT, "area"),
    "boxes_outside": (30.97, "outside"),
    "ignore_and_rle_crowd": (44.48, ""),
    "formats": (None, ""),
}


@pytest.mark.parametrize("case", DATA)
def test_labels_and_images(case: str, bench: Bench) -> None:
    right, warned = DATA[case]
    found = bench.score(bench.laid_out(case), DEMO, *([LABELS] if case == "unused_category" else []))
    assert found.checked  # pycocotools scores the same detections alike
    if right is not None:
        assert found.map == pytest.approx(right, abs=0.005)
    if warned:
        assert any(warned in text for text in found.warnings), found.warnings


def test_the_two_label_files_number_classes_differently(bench: Bench) -> None:
    trains = ["finetune.enabled=true", "finetune.steps=2", "finetune.batch=2", "finetune.lr=1e-6"]
    found = bench.score(bench.laid_out("val_numbers_differently"), DEMO, *trains)
    assert found.map == pytest.approx(44.0, abs=0.7)


def test_an_export_whose_graph_normalizes(bench: Bench, quirks: Path) -> None:
    found = bench.score(bench.base, f"model.inference_dir={quirks / 'model_fused_normalize'}")
    assert found.map == pytest.approx(RIGHT, abs=0.005)
    assert any("infer_cfg.yml says" in text and "pixels from 0 to 255" in text for text in found.infos)


@pytest.fixture(scope="module")
def paddle3(quirks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's detector as Paddle 3 exports it; its program is also kept beside the tests of the reader."""
    folder = tmp_path_factory.mktemp("paddle3") / "model"
    shutil.copytree(quirks / "model_paddle3", folder)
    for path in [folder, *folder.iterdir()]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "inference.json").write_bytes(gzip.decompress(PIR.read_bytes()))
    return folder


def test_an_export_of_paddle_3(bench: Bench, paddle3: Path) -> None:
    assert bench.score(bench.base, f"model.inference_dir={paddle3}").map == pytest.approx(RIGHT, abs=0.005)


def test_an_export_without_its_settings_is_warned_of(bench: Bench, paddle3: Path, tmp_path: Path) -> None:
    for name in ("inference.json", "inference.pdiparams"):
        shutil.copyfile(paddle3 / name, tmp_path / name)
    found = bench.score(bench.base, f"model.inference_dir={tmp_path}")
    assert found.map == pytest.approx(RIGHT, abs=0.005)
    assert any("assumed to take images as model=ppyoloe_tiny does" in text for text in found.warnings)


def test_another_model_than_the_export_is_refused_by_name(bench: Bench, paddle3: Path) -> None:
    chosen = ["model=ppyoloe_s", f"model.inference_dir={paddle3}"]
    with pytest.raises(InputError, match=r"is not a graph of model=ppyoloe_s.* choose model=ppyoloe_tiny"):
        bench.score(bench.base, *chosen)


def test_what_an_unknown_export_is_told_to_do_works(bench: Bench, paddle3: Path) -> None:
    """A graph of no known model, e.g. one with fewer channels: without the group ``model`` it is taken as it is."""
    chosen = ["model=ppyoloe_tiny", "model.architecture.width_mult=0.5", f"model.inference_dir={paddle3}"]
    with pytest.raises(InputError, match=r"run it without the names of its layers \('~model'\)"):
        bench.score(bench.base, *chosen)
    found = bench.score(bench.base, "~model", f"model.inference_dir={paddle3}")
    assert found.map == pytest.approx(RIGHT, abs=0.005)


def test_a_checkpoint_of_another_model_is_refused_by_name(bench: Bench) -> None:
    with pytest.raises(InputError, match="It fits model=ppyoloe_tiny: choose that"):
        bench.score(bench.base, "model=ppyoloe_plus_s", "model.input_size=[320,320]", DEMO)
