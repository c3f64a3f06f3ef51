"""A newcomer's path, README and then docs/tutorial.md: every command in a block of shell is run, word for word.

In a folder that looks like a checkout after `make` has installed it, with labelled images that are drawn here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.slowest import only_then

pytestmark = [pytest.mark.slow, pytest.mark.paddle, only_then]

README, TUTORIAL, PROGRAM = ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "deploy.md"
LINES = 40
"""That the demo prints at most, where nobody watches."""


def blocks(page: Path, language: str = "sh") -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a newcomer has: the files that `make` looks at, its environment, and a folder of labelled images."""
    folder = tmp_path_factory.mktemp("newcomer")
    for name in ("Makefile", "requirements.lock", "requirements", "pyproject.toml"):
        (folder / name).symlink_to(ROOT / name)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "detpress").write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m pipelines.cli "$@"\n')
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "activate").write_text(f"PATH={programs}:$PATH\n")
    for name in ("detpress", "python"):
        (programs / name).chmod(0o755)
    (folder / ".venv" / ".ready").touch()
    draw(folder / "mine")
    return folder


def draw(root: Path) -> None:
    """Labelled images of the demo's shapes, of another seed than the demo's."""
    import cv2

    from stages.detection.shapes import LABELS, draw_image

    for split, count in (("train", 48), ("val", 24)):
        (root / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            image, boxes = draw_image(7, split, number, 256, 320)
            cv2.imwrite(str(root / split / f"{number:04}.jpg"), image)
            images.append({"id": number + 1, "file_name": f"{number:04}.jpg", "width": 320, "height": 256})
            for box in boxes:
                place, own = [box.x, box.y, box.width, box.height], {"image_id": number + 1, "iscrowd": 0}
                annotation = {"id": len(annotations) + 1, "category_id": box.label + 1, "bbox": place}
                annotations.append({**annotation, **own, "area": box.width * box.height})
        categories = [{"id": i + 1, "name": name} for i, name in enumerate(LABELS)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / f"{split}.json").write_text(json.dumps(content))


def run(folder: Path, text: str) -> tuple[str, str]:
    """A block, stopped at the first command that fails; its standard output and standard error."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    done = subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", f". .venv/bin/activate\n{text}"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=1500,
    )  # fmt: skip
    assert done.returncode == 0, f"{text}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    print(f"$ {text}{done.stderr}{done.stdout}")  # with -s: what the pages show
    return done.stdout, done.stderr


def test_the_readme_s_first_commands_run_and_the_demo_is_a_screen_of_output(checkout: Path) -> None:
    texts = blocks(README)[:2]  # the others are for a model of one's own: `tests/test_page_runs.py`
    assert "make compress" in texts[0] and "detpress doctor" in texts[1]
    out, err = run(checkout, texts[0])
    lines = [*err.splitlines(), *out.splitlines()]
    assert len(lines) <= LINES, "\n".join(lines)
    assert any(line.startswith("Use onnxruntime ") for line in lines)
    assert Path(out.splitlines()[-1]).is_file() and out.endswith("report.json\n")
    for text in texts[1:]:
        run(checkout, text)


def test_the_tutorial_s_commands_run_from_a_folder_of_images_to_a_program(checkout: Path) -> None:
    if shutil.which("g++") is None or shutil.which("unzip") is None:
        pytest.skip("needs g++ and unzip")
    texts = blocks(TUTORIAL)
    (program,) = blocks(PROGRAM, "cpp")
    (checkout / "detect.cpp").write_text(program)  # "save it as detect.cpp"
    outputs = [run(checkout, text) for text in texts]
    told = [out + err for out, err in outputs]
    assert any("a first try: compression.steps=" in text for text in told)
    assert any("Trained ppyoloe_tiny for 20 steps" in text for text in told)
    assert any("Gates: all 2 hold." in text and "\nUse " in text for text in told)
    found = outputs[-1][0].splitlines()
    assert found and all(re.fullmatch(r"[a-z]+ 0\.\d+( -?\d+\.\d){4}", line) for line in found)
    every = "\n".join(texts)
    for word in ("plan", "finetune", "compress", "report", "bundle", "verify", "predict"):
        assert f"detpress {word} " in every, f"the tutorial has no {word} any more"
