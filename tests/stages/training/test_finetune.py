"""Training, run as the product runs it: in a worker of its own, on drawn shapes, with a very small model."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts import Checkpoint, LabeledSet, hash_files
from stages.data.collect import CollectLabeled
from stages.data.draw import Draw
from stages.data.weights import read_pdparams, write_pdparams
from stages.detection.shapes import LABELS
from stages.errors import ConfigError
from stages.options.check import check_options
from stages.options.data import CollectOptions, ShapesOptions
from stages.options.finetune import FinetuneOptions, FinetuneSettings
from stages.options.model import ModelOptions
from stages.outside.pickled_arrays import loads
from stages.training.finetune import CHECKPOINT, Finetune, check_input_size
from tests.fakes import FakeContext
from tests.stages.paddle.models.test_models import compose, merge
from tests.stages.workers import Worker

ROOT = Path(__file__).resolve().parents[3]
STEPS = 14


def options(**changes: Any) -> FinetuneOptions:
    fields = merge(compose("ppyoloe_tiny"), {"input_size": [96, 96], "architecture": {"width_mult": 0.125}})
    settings: dict[str, Any] = {
        "steps": STEPS,
        "batch": 2,
        "warmup_steps": 3,
        "static_steps": 5,
        "checkpoint_every": 4,
        "log_every": 3,
    }
    return FinetuneOptions(model=ModelOptions(**fields), **{**settings, **changes})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> LabeledSet:
    """Twelve drawn images with ids that are not contiguous, a crowd box, and an image whose boxes were removed."""
    folder = tmp_path_factory.mktemp("shapes")
    drawn = Draw(ShapesOptions(train=12, unlabeled=1, val=1, size=[96, 96])).run(
        Draw.Inputs(), FakeContext(folder / "draw")
    )
    labels = json.loads((drawn.root / "train.json").read_text())
    for category in labels["categories"]:
        category["id"] = category["id"] * 10 + 3
    for annotation in labels["annotations"]:
        annotation["category_id"] = annotation["category_id"] * 10 + 3
    labels["annotations"] = [a for a in labels["annotations"] if a["image_id"] != 1]
    labels["annotations"][0]["iscrowd"] = 1
    (folder / "labels.json").write_text(json.dumps(labels))
    given = CollectOptions(annotations=str(folder / "labels.json"), images=str(drawn.root / "train"))
    return CollectLabeled(given).run(CollectLabeled.Inputs(), FakeContext(folder / "collect"))


class Run(Worker):
    """One finetune worker; its folders stay, so that a second one can go on from the first."""

    def __init__(
        self,
        folder: Path,
        given: FinetuneOptions,
        inputs: Finetune.Inputs,
        fresh: bool = False,
        device: str = "cpu",
        gpus: int | None = None,
    ) -> None:
        super().__init__(folder, "finetune", given, inputs, fresh=fresh, device=device, gpus=gpus)

    @property
    def checkpoint(self) -> Checkpoint:
        artifact = self.result
        assert isinstance(artifact, Checkpoint)
        return artifact

    @property
    def history(self) -> list[dict[str, float]]:
        points: list[dict[str, float]] = json.loads(self.checkpoint.path("history.json").read_text())
        return points


@pytest.fixture(scope="module")
def whole(train: LabeledSet, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A training that nobody interrupted, in a process started as the product starts it."""
    run = Run(tmp_path_factory.mktemp("whole"), options(), Finetune.Inputs(train=train), fresh=True)
    assert run.wait() == 0
    return run


@pytest.mark.slow
def test_training(whole: Run) -> None:
    metrics = [e for e in whole.events if e["event"] == "metric"]
    by_name = {name: [(e["step"], e["value"]) for e in metrics if e["name"] == name] for name in ("loss", "lr")}
    assert [step for step, _ in by_name["loss"]] == [3, 6, 9, 12, 14]
    assert all(np.isfinite(value) and value > 0 for _, value in by_name["loss"])
    rates = [value for _, value in by_name["lr"]]
    assert max(rates) == pytest.approx(0.002)
    assert rates[-1] < 0.1 * rates[0]
    assert {"images_per_s", "loss_cls", "loss_iou", "loss_dfl"} <= {e["name"] for e in metrics}
    progress = [e for e in whole.events if e["event"] == "progress"]
    assert [(e["done"], e["total"]) for e in progress][-1] == (STEPS, STEPS)
    assert {"loss", "lr", "images_per_s"} <= set(progress[0])
    arrays = read_pdparams(whole.result.path("model.pdparams"))
    assert arrays["yolo_head.pred_cls.0.weight"].shape[0] == len(LABELS)
    assert all(np.isfinite(a).all() for a in arrays.values())
    assert set(whole.result.files) == {"model.pdparams", "history.json"}
    assert "convolutions run in oneDNN, forwards and backwards" in whole.said("info")


def assert_same_training(run: Run, whole: Run) -> None:
    ours, theirs = run.history, whole.history
    assert [p["step"] for p in ours] == [p["step"] for p in theirs]
    for name in ("loss", "loss_cls", "loss_iou", "loss_dfl", "lr"):
        np.testing.assert_allclose([p[name] for p in ours], [p[name] for p in theirs], rtol=1e-4)
    weights = read_pdparams(run.result.path("model.pdparams"))
    for name, value in read_pdparams(whole.result.path("model.pdparams")).items():
        np.testing.assert_allclose(weights[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL], ids=lambda s: s.name)
def test_an_interrupted_training_goes_on(how: signal.Signals, train: LabeledSet, whole: Run, tmp_path: Path) -> None:
    first = Run(tmp_path, options(), Finetune.Inputs(train=train))
    code = first.wait(kill_at=6, how=how)
    assert code == (128 + signal.SIGTERM if how is signal.SIGTERM else -signal.SIGKILL)
    step = loads((first.work / CHECKPOINT).read_bytes())["step"]
    # SIGTERM saves where it is; SIGKILL loses what came after the last multiple of checkpoint_every.
    assert 6 <= step < STEPS if how is signal.SIGTERM else step in (4, 8, 12)
    second = Run(tmp_path, options(), Finetune.Inputs(train=train))
    assert second.wait() == 0
    assert any(f"continues from step {step}" in message for message in second.said("info"))
    assert min(e["done"] for e in second.events if e["event"] == "progress") > step
    assert_same_training(second, whole)


@pytest.mark.slow
def test_a_gpu_is_used_where_there_is_one(
    train: LabeledSet, whole: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for it, on which Paddle leaves mixed precision out: the training is the same as on a CPU with the
    same kernels, which are Paddle's own."""
    monkeypatch.setenv("STANDIN_ONEDNN", "0")
    plain = Run(tmp_path / "cpu", options(), Finetune.Inputs(train=train), gpus=0)
    assert plain.wait() == 0, plain.log_file.read_text()[-2000:]
    assert [text for text in plain.said("info") if "convolutions" in text] == [
        "convolutions run in Paddle's own kernels, which take 1.4 times as long: this build of Paddle has no oneDNN"
    ]
    monkeypatch.delenv("STANDIN_ONEDNN")
    run = Run(tmp_path, options(amp=True), Finetune.Inputs(train=train), device="auto", gpus=1)
    assert run.wait() == 0, run.log_file.read_text()[-2000:]
    assert json.loads((run.work / "places.json").read_text())["default"] == ["gpu:0"]
    assert run.said("info") == ["computes on GPU 0: stand-in 0"]
    assert run.said("warning") == whole.said("warning")
    assert run.metrics("gpu_memory_gib") == [3.0]
    assert_same_training(run, plain)


@pytest.mark.slow
def test_mixed_precision_on_the_cpu_is_said_to_do_nothing(train: LabeledSet, tmp_path: Path) -> None:
    run = Run(tmp_path, options(steps=1, amp=True), Finetune.Inputs(train=train))
    assert run.wait() == 0
    assert "finetune.amp=true does nothing here: this training runs on the CPU, in FP32" in run.said("warning")


@pytest.mark.slow
def test_a_damaged_checkpoint_is_said_and_left(train: LabeledSet, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / CHECKPOINT).write_bytes(b"half a file")
    run = Run(tmp_path, options(steps=2), Finetune.Inputs(train=train))
    assert run.wait() == 0
    assert any("cannot be used" in message for message in run.said("warning"))


@pytest.mark.slow
@pytest.mark.parametrize("static_steps", [0, 12], ids=["aligned", "by geometry"])
def test_batches_without_any_box(static_steps: int, train: LabeledSet, tmp_path: Path) -> None:
    # One image per batch and one epoch: the image whose boxes were removed is a batch of its own.
    given = options(steps=12, batch=1, static_steps=static_steps, log_every=1)
    run = Run(tmp_path, given, Finetune.Inputs(train=train))
    assert run.wait() == 0, run.events[-1]
    assert any(p["loss_iou"] == 0 for p in run.history)
    assert all(np.isfinite(p["loss"]) for p in run.history)


@pytest.mark.slow
def test_a_checkpoint_of_other_classes_is_a_start(train: LabeledSet, whole: Run, tmp_path: Path) -> None:
    arrays = read_pdparams(whole.result.path("model.pdparams"))
    for name in list(arrays):
        if ".pred_cls." in name:  # as if there had been seven classes
            arrays[name] = np.zeros((7, *arrays[name].shape[1:]), np.float32)
    write_pdparams(tmp_path / "seven.pdparams", arrays)
    start = Checkpoint(root=tmp_path, files=hash_files(tmp_path, ["seven.pdparams"]), weights="seven.pdparams")
    # So small a rate that the trained layers stay what they were.
    run = Run(tmp_path / "run", options(steps=2, lr=1e-9), Finetune.Inputs(train=train, start=start))
    assert run.wait() == 0
    (warning,) = [message for message in run.said("warning") if "another number of classes" in message]
    assert "knows 7 classes" in warning and f"the {len(LABELS)} of the data" in warning
    after = read_pdparams(run.result.path("model.pdparams"))
    assert after["yolo_head.pred_cls.0.weight"].shape[0] == len(LABELS)
    name = "backbone.stages.0.conv3.conv.weight"
    np.testing.assert_allclose(after[name], arrays[name], atol=1e-5)


@pytest.mark.slow
def test_a_model_with_an_auxiliary_head_is_trained(train: LabeledSet, tmp_path: Path) -> None:
    model = ModelOptions(**merge(compose("ppyoloe_plus_t"), {"input_size": [96, 96]}))
    # Three steps: the auxiliary neck is attached in the first and detached after it; labels by geometry, then aligned.
    given = replace(options(steps=3, static_steps=1, log_every=1), model=model)
    run = Run(tmp_path, given, Finetune.Inputs(train=train))
    assert run.wait() == 0, run.events[-1]
    assert [p["step"] for p in run.history] == [1, 2, 3]
    arrays = read_pdparams(run.result.path("model.pdparams"))
    assert any(name.startswith("aux_head.") for name in arrays), "kept: a later training goes on with it"


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "steps"), [(2, 12), (-1, 0)])
def test_the_models_static_assigner_epoch_counts_passes_over_the_images(
    epochs: int, steps: int, train: LabeledSet, tmp_path: Path
) -> None:
    given = options(steps=1, static_steps=None)
    head = {**given.model.architecture["PPYOLOEHead"], "static_assigner_epoch": epochs}
    given.model.architecture["PPYOLOEHead"] = head
    run = Run(tmp_path, given, Finetune.Inputs(train=train))
    assert run.wait() == 0, run.events[-1]
    said = f"static_assigner_epoch={epochs}: labels go by geometry for {steps} steps, of 1 in all"
    assert said in run.said("info")  # twelve images in batches of two


@pytest.mark.parametrize("name", ["ppyoloe_l", "ppyoloe_plus_l", "ppyoloe_plus_t", "ppyoloe_plus_t_relu_320"])
def test_the_models_state_the_epochs_of_paddledetection(name: str) -> None:
    head = compose(name)["architecture"]["PPYOLOEHead"]
    assert head["static_assigner_epoch"] == (30 if name == "ppyoloe_plus_l" else 100)


@pytest.mark.slow
def test_a_training_that_explodes_says_so(train: LabeledSet, tmp_path: Path) -> None:
    run = Run(tmp_path, options(lr=1e30, warmup_steps=0, steps=8), Finetune.Inputs(train=train))
    assert run.wait() == 4
    error = run.events[-1]
    assert error["event"] == "error" and error["type"] == "StageError"
    assert "finetune.lr" in error["message"] and "step" in error["message"]


def test_all_wrong_settings_are_named(train: LabeledSet, context: FakeContext) -> None:
    wrong = options(steps=0, flip=1.5, lr=-1.0, ema_decay=1.0, batch=0, weight_decay=-1.0)
    with pytest.raises(ConfigError) as caught:
        Finetune(wrong).run(Finetune.Inputs(train=train), context)
    named = [problem.split(":")[0] for problem in caught.value.problems]
    assert sorted(named) == sorted(
        f"finetune.{n}" for n in ("steps", "flip", "lr", "ema_decay", "batch", "weight_decay")
    )
    assert check_options(FinetuneSettings()) == []
    assert check_input_size([320, 640]) == []
    assert "too small" in check_input_size([64, 96])[0]
    assert check_options(replace(FinetuneSettings(), flip=0.0, crop=1.0)) == []
