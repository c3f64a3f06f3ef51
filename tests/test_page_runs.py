"""The commands of the pages, run page by page, word for word, unless `tests/page_tables.py` says who else does.

In a folder with a small detector (`tests/pipelines/small.py`): a champion, two more runs, a bundle, images, recipes.
What a page leaves to its reader (``RUN``, ``BUNDLE.zip``, ``DIR``) are files of these names.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines import cli
from stages.processes import python
from tests.command_words import named_files
from tests.page_tables import why_not_run
from tests.pages import DOCS, all_commands, blocks
from tests.pipelines import recipes, small, stub_detector

pytestmark = [
    pytest.mark.slow,
    pytest.mark.paddle,  # of a plan: it says what is missing
    # MLflow's own tables, under the SQLAlchemy that its pins allow.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning"),
]

OWN = f"--config-dir=conf experiment={stub_detector.EXPERIMENT}"
LEFT_OPEN = {"...": OWN, "[RUN|VERSION]": "RUN", "promote 4 ": "promote 1 "}
"""What stands for something in a command -> what it is here."""

SERVES = "detpress schedule schedule=nightly model.weights=FILE data=coco_folder data.root=DIR"
"""Runs until it is stopped."""

SAYS = {
    "detpress plan ...": "onnxruntime makes FP32",
    "detpress runs": "blocks",
    "detpress compare RUN_A RUN_B": "mAP",
    "detpress pareto": ".html",
    "detpress reproduce RUN": "detpress compress --config-dir=conf experiment=own",
    "detpress bundle RUN": "-onnxruntime-fp32.zip",
    "detpress verify BUNDLE.zip --sha256 HEX": "boxes agree, as promised",
    "detpress predict BUNDLE.zip a.jpg b.jpg": '"label": "block"',
    "detpress predict model.onnx a.jpg b.jpg": '"label": "block"',
    "detpress import-config ppyoloe_l_qat_dis.yaml": "detpress compress model=ppyoloe_l",
    "detpress import-config recipe.yaml --write mine": "--config-dir mine experiment=recipe",
    "detpress plan experiment=demo compression.lr=1e-4": "16 stages; ",
    "detpress champion": "version 1",
    "detpress promote [RUN|VERSION]": "version 2 is the champion",
    "detpress promote latest gate.champion.max_map_drop=3": "version 3 is the champion",
    "detpress promote 4 --force": "version 1 is the champion, not judged",
    "detpress schedule status": "next tick",
}
"""Command -> what it prints, among the rest."""

PAGES = {
    page: kept for page, typed in all_commands().items() if (kept := [c for c in typed if not why_not_run(page, c)])
}


def detpress(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Everything that a command prints; it ends well."""
    capsys.readouterr()
    code = cli.main(words)
    told = capsys.readouterr()
    assert code == 0, f"detpress {shlex.join(words)}: {code}\n{told.out[-2000:]}{told.err[-4000:]}"
    return told.out + told.err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the commands are typed: images, checkpoints, recipes, and the small detector's config."""
    made = tmp_path_factory.mktemp("pages")
    named_files(made)
    (made / "mine").unlink()  # a folder that a command makes
    small.weights(made, 0.0, "first")
    for split, image, seed in (("train", "a.jpg", 3), ("val", "b.jpg", 4)):
        small.draw(made, split, 4, seed=seed)
        (made / image).symlink_to(next((made / split).iterdir()))
    stub_detector.write_experiment(made / "conf", made)
    both = {**recipes.fastdeploy("m", "ppyoloe_withNMS_image_preprocess", "Distillation"), **recipes.act("m")}
    for name, recipe in (
        ("ppyoloe_l_qat_dis", recipes.act("ppyoloe_crn_l_300e_coco")),
        ("ppyoloe_withNMS_quant", recipes.fastdeploy("m", "ppyoloe_withNMS_image_preprocess", "Quantization")),
        ("recipe", both),
    ):
        (made / f"{name}.yaml").write_text(yaml.safe_dump(recipe))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        for name, value in {"MLFLOW_HTTP_REQUEST_TIMEOUT": "1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}.items():
            patch.setenv(name, value)
        patch.setenv("NO_COLOR", "1")
        stub_detector.stand_in(patch)
        yield made


@pytest.fixture(scope="module")
def runs(folder: Path) -> Path:
    """A champion, two runs of another checkpoint, and the bundle of one of them."""
    for number, word in enumerate(("retrain", "compress", "compress")):
        if number == 1:
            small.weights(folder, 0.0, "second")
        assert cli.main([word, *OWN.split()]) == 0
    ids = sorted(path for path in (folder / "artifacts" / "runs").iterdir() if not path.is_symlink())
    for name, run in zip(("RUN_A", "RUN", "RUN_B"), ids, strict=True):
        (folder / name).symlink_to(run)
    assert cli.main(["bundle", "RUN", "precision=fp32", "golden=2", "out=BUNDLE.zip"]) == 0
    with zipfile.ZipFile(folder / "BUNDLE.zip") as bundle:
        (folder / "model.onnx").write_bytes(bundle.read("engine/model.onnx"))
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page: str, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served: list[subprocess.Popen[str]] = []
    try:
        for command in PAGES[page]:
            if command == SERVES:
                served.append(serving(runs))
                continue
            text = command.replace("HEX", hashlib.sha256((runs / "BUNDLE.zip").read_bytes()).hexdigest())
            for open_word, word in LEFT_OPEN.items():
                text = text.replace(open_word, word)
            words = shlex.split(text)
            if words[0] == "detpress":
                # The small detector has no INT8 engine.
                told = detpress([*words[1:], *(["precision=fp32"] if words[1] == "bundle" else [])], capsys)
            else:
                told = program(words, runs)
            assert SAYS.get(command, "") in told, f"{command}:\n{told}"
    finally:
        for process in served:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
    assert [process.returncode for process in served] == [0] * len(served)


def program(words: list[str], folder: Path) -> str:
    """Everything that another program prints, which ends well; ``python`` is the one of these tests."""
    command = [sys.executable if words[0] == "python" else words[0], *words[1:]]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def serving(folder: Path) -> subprocess.Popen[str]:
    """The scheduler, in a process of its own, once it has said what it stored."""
    command = python.command("pipelines.cli", *shlex.split(SERVES)[1:])
    process = subprocess.Popen(
        command, cwd=folder, env=python.environment(NO_COLOR="1"), text=True, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    if not (said := process.stdout.readline()).startswith("schedule retrain: "):
        process.kill()
        pytest.fail(f"{SERVES}: {said}{process.communicate()[0]}")
    return process


def test_what_a_bundle_is_unpacked_to_has_the_files_that_the_page_names(runs: Path) -> None:
    """After the commands of docs/deploy.md."""
    if not (runs / "FOLDER").is_dir():
        program(shlex.split("python -m zipfile -e BUNDLE.zip FOLDER"), runs)
    named = ("README.md", "bom.cdx.json", "SHA256SUMS", "labels.txt")
    assert [name for name in named if not (runs / "FOLDER" / name).is_file()] == []


def test_the_tutorial_s_plan_is_as_the_page_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for times, and the precisions of another CPU: the real detector, on blocks in place of its shapes."""
    for split, seed in (("train", 3), ("val", 4)):
        small.draw(tmp_path / "mine", split, 4, seed=seed)
    monkeypatch.chdir(tmp_path)
    found = blocks(DOCS / "tutorial.md")
    at = next(i for i, block in enumerate(found) if block.text.startswith("detpress plan "))
    told = masked(detpress(shlex.split(found[at].text)[1:], capsys))
    shown = [line for line in masked(found[at + 1].text).splitlines() if not line.startswith("onnxruntime makes")]
    assert [line for line in shown if line not in told.splitlines()] == [] and len(shown) == 3


def masked(text: str) -> str:
    """Without how long something takes."""
    return re.sub(r"[\d.]+ (h|min|s)\b", "TIME", text)


def test_what_is_said_is_of_commands_that_are_run() -> None:
    run = {command for typed in PAGES.values() for command in typed}
    assert set(SAYS) <= run and SERVES in run
