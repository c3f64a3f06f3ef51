"""Who may import whom. Read from the source, so that an import inside a function counts too."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.catalog import STAGES
from tests.conftest import ROOT

PADDLE = {"paddle", "ppdet", "paddleslim", "paddle2onnx"}
ORCHESTRATION = {"hydra", "omegaconf", "mlflow", "pipelines", "rich"}
TENSORS = {"onnx", "onnxruntime", "openvino", "cv2", "torch", *PADDLE}
HEAVY = TENSORS | {"pycocotools", "scipy", "pandas", "sklearn", "matplotlib", "mlflow", "hydra", "jinja2"}


def imported(file: Path) -> Iterator[tuple[str, int]]:
    """Top-level names of the modules that ``file`` imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0], node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield f"relative import in {file.name}", node.lineno


def offenders(folder: str, forbidden: set[str], *, but: str = "-") -> list[str]:
    files = [p for p in (ROOT / folder).rglob("*.py") if not p.is_relative_to(ROOT / but)]
    assert files
    return [
        f"{file.relative_to(ROOT)}:{line} imports {name}"
        for file in files
        for name, line in imported(file)
        if name in forbidden
    ]


def test_stages_know_neither_hydra_nor_mlflow_nor_the_pipelines() -> None:
    assert offenders("stages", ORCHESTRATION) == []


def test_only_the_door_to_paddle_imports_paddle() -> None:
    assert offenders("stages", PADDLE, but="stages/paddle") == []


def test_no_test_loads_paddle_into_the_process_of_all_tests() -> None:
    """Its threads would spoil what is timed there; programs that may load it are `probe_*` and started by the tests."""
    loading = []
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in PADDLE or f"{name}.".startswith("stages.paddle.") for name in names):
                loading.append(f"{file.relative_to(ROOT)}:{node.lineno}")
    assert loading == []


def test_the_pipelines_touch_no_tensor() -> None:
    assert offenders("pipelines", TENSORS | {"numpy"}) == []


LIGHT = ["stages.processes.worker", *sorted({entry.where.partition(":")[0] for entry in STAGES.values()})]


@pytest.mark.parametrize("module", LIGHT)
def test_a_stages_module_is_light_to_import(module: str) -> None:
    """Planning a run imports every stage and backend: none may bring a runtime along."""
    script = f"import importlib, sys; importlib.import_module({module!r}); from stages import backends\n"
    script += "for name in backends.names(): backends.get(name).fingerprint()\n"
    script += f"print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stderr


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["doctor"]])
def test_small_commands_load_nothing_heavy(command: list[str]) -> None:
    script = "import sys; from pipelines.cli import main; main(sys.argv[1:])\n"
    script += f"print('loaded', sorted({HEAVY - {'hydra'}!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines()[-1] == "loaded []", done.stderr
