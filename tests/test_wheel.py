"""The built wheel: exactly the files it should have, and a config that composes where there is no checkout."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
import zipfile
from email import message_from_string
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT
from tests.poison import NAMES, poison, ran

pytestmark = pytest.mark.slow

NEEDED = ["hydra-core", "omegaconf", "PyYAML", "rich", "psutil", "numpy"]
"""What the config and the doctor need; the rest of the dependencies stays away, to show that it is not loaded."""

APACHE_2 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Digest of the licence's text as it is published, appendix and all."""

TYPED = ("conf", "pipelines", "stages")
"""Packages marked as typed. ``hydra_plugins`` is a namespace of several distributions, which none of them can mark."""

THEIRS = """
from stages.backends.base import Backend

reveal_type(Backend.name)
"""
"""What a checker says of it depends on whether the installed packages count as typed."""

CHECK = """
import sys
from pathlib import Path
import conf, pipelines, stages
for module in (conf, pipelines, stages):
    assert Path(module.__file__).is_relative_to(sys.prefix), module.__file__
from pipelines.config import resolvers, schema
from pipelines.config.compose import Command
from pipelines.config.check import check_command
schema.register()
resolvers.register_resolvers()
for override in sys.argv[1:]:
    check_command(Command([override], multirun=override.startswith("hydra/sweeper=")), inputs=False)
print(resolvers.DEMO)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment with the wheel and the few packages of ``NEEDED``, taken over without a network."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv" / "lib").glob("python3.*/site-packages")
    third = folder / "third"
    third.mkdir()
    for name in _with_requirements(NEEDED):
        _link(name, third)
    (site / "third.pth").write_text(f"{third}\n")
    command = [sys.executable, "-m", "pip", "--python", str(folder / "venv" / "bin" / "python"), "install"]
    done = subprocess.run(
        [*command, "--no-deps", "--no-index", "--no-cache-dir", str(wheel)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "venv"


def _with_requirements(names: list[str]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name.lower() in found:
            continue
        found.add(name.lower())
        for text in metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                left.append(requirement.name)
    return found


def _link(name: str, folder: Path) -> None:
    """Let ``folder`` have the top-level files and folders of an installed distribution."""
    distribution = metadata.distribution(name)
    tops = {file.parts[0] for file in distribution.files or [] if file.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        target = folder / top
        if not target.exists():
            target.symlink_to(Path(str(distribution.locate_file(top))).resolve())


def test_it_has_exactly_the_packages_the_configs_and_the_demo(wheel: Path) -> None:
    expected = {
        p.relative_to(ROOT).as_posix()
        for package in ("pipelines", "stages", "conf", "hydra_plugins")
        for p in (ROOT / package).rglob("*")
        if p.suffix in (".py", ".yaml", ".j2", ".css", ".js")
    }
    expected |= {"detpress.py", *(f"{package}/py.typed" for package in TYPED)}
    expected |= {p.relative_to(ROOT).as_posix() for p in (ROOT / "artifacts" / "demo").rglob("*") if p.is_file()}
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    info = {name for name in names if ".dist-info/" in name}
    assert {name.split("/", 1)[1] for name in info} == {
        *("METADATA", "WHEEL", "entry_points.txt", "RECORD", "licenses/LICENSE")
    }
    assert set(names) - info == expected


def test_its_metadata_name_the_licence_and_bring_its_whole_text(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (info,) = {name.split("/", 1)[0] for name in archive.namelist() if ".dist-info/" in name}
    fields = message_from_string(archive.read(f"{info}/METADATA").decode())
    assert fields["License-Expression"] == "Apache-2.0" and fields.get_all("License-File") == ["LICENSE"]
    assert not [line for line in fields.get_all("Classifier", []) if line.startswith("License ::")]  # PEP 639
    assert archive.read(f"{info}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert hashlib.sha256((ROOT / "LICENSE").read_bytes()).hexdigest() == APACHE_2


def test_every_config_composes_from_the_wheel_alone(environment: Path, tmp_path: Path) -> None:
    files = [p.relative_to(ROOT / "conf").with_suffix("") for p in (ROOT / "conf").rglob("*/*.yaml")]
    choices = [
        f"{p.parent}=[{p.name}]" if p.parent.name == "backend" else f"{p.parent}={p.name}"
        for p in files
        if not p.name.startswith("_")
    ]
    assert len(choices) > 20
    done = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", CHECK, *choices],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    demo = Path(done.stdout.strip())
    assert demo.is_relative_to(environment)
    assert {p.name for p in demo.iterdir()} == {p.name for p in (ROOT / "artifacts" / "demo").iterdir()}


def test_the_console_script_works_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    script = environment / "bin" / "detpress"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True, timeout=120
        )

    assert run("--version").stdout == f"detpress {metadata.version('detpress')}\n"
    shown = run("compress", "--cfg", "job", "experiment=demo")
    assert shown.returncode == 0 and "name: ppyoloe_tiny" in shown.stdout, shown.stderr
    wrong = run("compress", "modle=x")
    assert wrong.returncode == 2 and "did you mean model?" in wrong.stderr
    assert list(tmp_path.iterdir()) == []
    foreign = poison(tmp_path / "foreign", *(name for name in NAMES if name != "sitecustomize"))
    clean["PYTHONPATH"] = str(foreign)
    assert run("--version").stdout == f"detpress {metadata.version('detpress')}\n"
    assert ran(foreign) == ""
    del clean["PYTHONPATH"]
    assert run("doctor").returncode == 2  # no Paddle here, and it says so instead of failing to start


API = """
import detpress, pipelines.api, pathlib, sys
assert detpress.compress is pipelines.api.compress
assert pathlib.Path(detpress.__file__).parent == pathlib.Path(pipelines.__file__).parent.parent
print(detpress.__file__)
try:
    detpress.compress(["compresion.steps=3", "model.random_weights=true"])
except detpress.ConfigError as error:
    print(error)
"""


def test_the_functions_are_there_from_the_wheel(environment: Path, tmp_path: Path) -> None:
    told = called(environment / "bin" / "python", tmp_path)
    assert Path(told[0]).is_relative_to(environment)
    assert told[1:] == [
        "the config has a problem:",
        "  - compresion.steps: there is no such key; did you mean compression.steps?",
    ]


def test_and_from_an_editable_installation(environment: Path, tmp_path: Path) -> None:
    """Which is a file that names the checkout's folder, in an environment without the wheel."""
    build = "import sys; from hatchling.build import build_editable; print(build_editable(sys.argv[1]))"
    made = subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert made.returncode == 0, made.stderr
    venv.create(tmp_path / "venv", with_pip=False)
    (site,) = (tmp_path / "venv" / "lib").glob("python3.*/site-packages")
    (third,) = (environment / "lib").glob("python3.*/site-packages/third.pth")
    (site / "third.pth").write_text(third.read_text())
    zipfile.ZipFile(tmp_path / made.stdout.split()[-1]).extractall(site)
    (tmp_path / "empty").mkdir()
    told = called(tmp_path / "venv" / "bin" / "python", tmp_path / "empty")
    assert Path(told[0]) == ROOT / "detpress.py" and told[1] == "the config has a problem:"


def called(python: Path, folder: Path) -> list[str]:
    """What ``API`` prints there; nothing else, and it leaves nothing."""
    done = subprocess.run([python, "-I", "-c", API], cwd=folder, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert list(folder.glob("artifacts")) == []
    return done.stdout.splitlines()


def test_a_type_checker_sees_the_types_of_the_installed_packages(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    checker = [sys.executable, "-m", "mypy", "--no-incremental", "--follow-imports=silent"]
    done = subprocess.run(
        [*checker, "--python-executable", environment / "bin" / "python", "theirs.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert 'Revealed type is "str"' in done.stdout.replace("builtins.", ""), done.stdout + done.stderr
    assert "py.typed" not in done.stdout  # as in "module is installed, but missing library stubs or py.typed marker"
