"""Each folder imports only folders below it, and no two files import each other in a circle.

Read from the source, so that an import inside a function counts too. What a module only names in a string (the stage
that a worker is to load, a program to start) is no import.
"""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = {
    "pipelines": """
        cli | api > results > commands > retrain > scheduling > retraining > compress | sensitivity | finetune | size
        > search > registry > graph > runs > tracking > execution > store | config > system
    """,
    "stages": """
        search > mixed_precision | champion | bundle | profiling | thresholds | throughput | lightening > distillation
        | accuracy | agreement | latency | build > training | export | backends > paddle > data | report > detection
        | processes > codec > contract
        > lowering | programs > artifacts > options > numerics > outside > errors | catalog
    """,
}
"""From the top down; what stands between two ``>`` does not import one another."""


def ranks(package: str) -> dict[str, int]:
    """Folder (or file) of a package -> its height."""
    rows = LAYERS[package].split(">")
    return {name.strip(): len(rows) - i for i, row in enumerate(rows) for name in row.split("|")}


def modules() -> dict[str, Path]:
    """Dotted name -> file."""
    files = [path for package in LAYERS for path in (ROOT / package).rglob("*.py")]
    return {_name(path): path for path in files}


def _name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, known: dict[str, Path]) -> Iterator[tuple[str, int]]:
    """The project's modules that a file imports, anywhere in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in known:
                    yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in known else str(node.module)), node.lineno


@pytest.mark.parametrize("package", list(LAYERS))
def test_every_folder_has_its_place(package: str) -> None:
    there = {
        p.stem
        for p in (ROOT / package).iterdir()
        if p.stem != "__init__" and (p.suffix == ".py" or any(p.glob("*.py")))
    }
    assert there == set(ranks(package))


@pytest.mark.parametrize("package", list(LAYERS))
def test_each_folder_imports_only_folders_below_it(package: str) -> None:
    known, height = modules(), ranks(package)
    wrong = []
    for name, path in known.items():
        here = name.split(".")[1:2]
        if name.split(".")[0] != package or not here:
            continue
        for target, line in imports(path, known):
            there = target.split(".")
            if there[0] != package or there[1:2] in (here, []):
                continue
            if height[there[1]] >= height[here[0]]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {target}")
    assert wrong == []


def test_no_files_import_each_other_in_a_circle() -> None:
    known = modules()
    graph = {name: {target for target, _ in imports(path, known) if target != name} for name, path in known.items()}
    graphlib.TopologicalSorter(
        graph
    ).prepare()  # raises CycleError, with the circle  # raises CycleError, which names them


@pytest.mark.parametrize("package", list(LAYERS))
def test_a_folder_says_what_it_is_for_and_names_its_face(package: str) -> None:
    """The last paragraph of a folder's docstring is ``Face:`` and what others use of it, which has to exist."""
    silent, missing = [], []
    for path in (ROOT / package).rglob("__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        name = _name(path)
        if not text:
            silent.append(name)
        face = text.rpartition("Face:")[2] if "Face:" in text else ""
        for module, attribute in re.findall(r"`(\w+)\.(\w+)`", face):
            file = path.parent / f"{module}.py"
            if not file.is_file() or not re.search(rf"^(class |def |async def |){attribute}\b", file.read_text(), re.M):
                missing.append(f"{name}: {module}.{attribute}")
    assert (silent, missing) == ([], [])
    importlib.import_module(package)
