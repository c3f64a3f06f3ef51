"""The locks' judge names planted contradictions, and the committed locks have none for the Python that runs this."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from packaging.markers import default_environment

from requirements import check_lock
from requirements.check_lock import (
    LOCKS,
    Distribution,
    Project,
    idle_exceptions,
    installed_lock,
    linux,
    read_lock,
    read_project,
    violations,
)
from tests.conftest import ROOT

NOTHING = Project((), ())
PADDLE = ("paddlepaddle", "paddleslim", "paddledet", "paddle2onnx")


def locked(*packages: Distribution) -> dict[str, Distribution]:
    return {package.name.lower().replace("_", "-"): package for package in packages}


def test_scipy_that_wants_numpy_2_beside_numpy_1_is_named() -> None:
    packages = locked(Distribution("scipy", "1.18.1", ("numpy<2.8,>=2.0.0",)), Distribution("numpy", "1.26.4"))
    assert violations(packages, NOTHING, linux("3.12")) == [
        "scipy 1.18.1 needs numpy<2.8,>=2.0.0, but numpy 1.26.4 is locked"
    ]


def test_what_is_missing_is_named_without_a_version_too() -> None:
    packages = locked(Distribution("onnx", "1.23.2", ("ml_dtypes", "protobuf>=6")), Distribution("protobuf", "7.1"))
    assert violations(packages, NOTHING, linux("3.11")) == ["onnx 1.23.2 needs ml_dtypes, which is not locked"]


def test_names_and_versions_are_compared_as_packages_mean_them() -> None:
    packages = locked(
        Distribution("mlflow", "3.0", ("ML_DTypes>=0.5", "pytz", "numpy (>=1.12.1)")),
        Distribution("ml_dtypes", "0.5.4rc1"),  # a release candidate that was locked on purpose is no violation
        Distribution("pytz", "2026.6"),
        Distribution("numpy", "1.26.4"),
    )
    assert violations(packages, NOTHING, linux("3.10")) == []


@pytest.mark.parametrize(
    ("marker", "pythons"),
    [
        ('python_version < "3.11"', ["3.10"]),
        ('python_full_version >= "3.12"', ["3.12"]),
        ('sys_platform == "win32" or platform_machine == "arm64"', []),
        ('platform_system == "Linux" and implementation_name == "cpython"', ["3.10", "3.11", "3.12"]),
    ],
)
def test_a_marker_decides_for_which_python_a_requirement_counts(marker: str, pythons: list[str]) -> None:
    packages = locked(Distribution("a", "1", (f"b>=2 ; {marker}",)), Distribution("b", "1"))
    assert [p for p in ("3.10", "3.11", "3.12") if violations(packages, NOTHING, linux(p))] == pythons


def test_an_extra_counts_once_some_package_asks_for_it() -> None:
    moto = Distribution("moto", "5.2", ("boto3", 'flask>=3 ; extra == "server"', 'docker ; extra == "all"'))
    others = (Distribution("boto3", "1.43"), Distribution("flask", "2.3"))
    assert violations(locked(moto, *others), NOTHING, linux("3.11")) == []
    asked = locked(moto, *others, Distribution("tester", "1", ("moto[server]",)))
    assert violations(asked, NOTHING, linux("3.11")) == [
        "moto 5.2 needs flask>=3 (for its extra server), but flask 2.3 is locked"
    ]
    chained = Distribution("moto", "5.2", ('moto[server] ; extra == "all"', 'flask>=3 ; extra == "server"'))
    through_itself = locked(chained, *others, Distribution("tester", "1", ("moto[all]",)))
    assert violations(through_itself, NOTHING, linux("3.11")) == [
        "moto 5.2 needs flask>=3 (for its extra server), but flask 2.3 is locked"
    ]


def test_an_exception_holds_for_its_version_alone_and_for_no_other_package() -> None:
    project = Project((), (("paddledet", "2.6.0", ("numpy<2",)),))
    det, other = Distribution("paddledet", "2.6.0", ("numpy<1.24", "sklearn==0.0")), Distribution("numpy", "1.26.4")
    assert violations(locked(det, other), project, linux("3.12")) == []
    assert violations(locked(det, Distribution("numpy", "2.1")), project, linux("3.12")) == [
        "paddledet 2.6.0 needs numpy<2, but numpy 2.1 is locked"
    ]
    newer = locked(
        Distribution("paddledet", "2.7.0", ("numpy<1.24",)), other, Distribution("old", "1", ("numpy<1.24",))
    )
    assert violations(newer, project, linux("3.12")) == [
        "paddledet 2.7.0 needs numpy<1.24, but numpy 1.26.4 is locked",
        "old 1 needs numpy<1.24, but numpy 1.26.4 is locked",
    ]
    assert idle_exceptions(locked(det), project) == []
    assert idle_exceptions(newer, project) == ["the exception for paddledet 2.6.0 has no effect: 2.7.0 is locked"]
    assert idle_exceptions({}, project) == ["the exception for paddledet 2.6.0 has no effect: it is not locked"]
    until_12 = Project(('paddledet==2.6.0 ; python_version < "3.13"',), project.stated)
    assert idle_exceptions({}, until_12, linux("3.13")) == []  # not asked for there
    assert idle_exceptions({}, until_12, linux("3.12")) == idle_exceptions({}, project)


def test_a_requirement_that_cannot_be_read_is_no_pass() -> None:
    (line,) = violations(locked(Distribution("odd", "1", ("numpy>=>2",))), NOTHING, linux("3.11"))
    assert line == "odd 1 states a requirement that cannot be read: 'numpy>=>2'"


def test_the_project_s_own_requirements_count_and_those_of_the_extras_that_are_locked(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "more.in").write_text("# why\nc==3  # and how\n")
    (tmp_path / "Makefile").write_text("lock:\n\tuv pip compile --extra cpu-only pyproject.toml\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["a>=2"]\noptional-dependencies = {gpu = ["b>=3"], cpu-only = ["b>=2", "d"]}\n'
        '[[tool.uv.dependency-metadata]]\nname = "E_E"\nrequires-dist = ["a"]\n'
    )
    project = read_project(tmp_path)
    assert project.stated == (("e-e", None, ("a",)),)
    packages = locked(Distribution("a", "1"), Distribution("b", "1"))
    assert violations(packages, project, linux("3.11")) == [
        "detpress needs a>=2, but a 1 is locked",
        "detpress needs b>=2, but b 1 is locked",
        "detpress needs d, which is not locked",
        "detpress needs c==3, which is not locked",
    ]


def test_the_pins_of_a_lock_are_those_of_one_python() -> None:
    text = (
        "# made by\na==1.0 \\\n    --hash=sha256:00 \\\n    --hash=sha256:01\n"
        "scipy==1.15.3 ; python_full_version < '3.11' \\\n    --hash=sha256:02\n"
        "scipy==1.17.1 ; python_full_version >= '3.11' \\\n    --hash=sha256:03\n"
        "pywin32==312 ; sys_platform == 'win32' \\\n    --hash=sha256:04\n"
    )
    assert read_lock(text, linux("3.10")) == {"a": "1.0", "scipy": "1.15.3"}
    assert read_lock(text, linux("3.12")) == {"a": "1.0", "scipy": "1.17.1"}


@pytest.mark.parametrize(
    ("lock", "python"),
    [
        *(("requirements.lock", python) for python in ("3.10", "3.11", "3.12", "3.13", "3.14")),
        *(("requirements/paddle3.lock", python) for python in ("3.10", "3.11", "3.12")),
    ],
)
def test_each_python_has_pins_that_meet_the_project_and_every_exception_is_used(lock: str, python: str) -> None:
    pins = read_lock((ROOT / lock).read_text(), linux(python))
    project = read_project(lock=lock)
    packages = {name: Distribution(name, version) for name, version in pins.items()}
    assert violations(packages, project, linux(python)) == []  # also what the exceptions say the three need instead
    assert idle_exceptions(packages, project, linux(python)) == []
    assert (set(packages) >= set(PADDLE)) == (python in ("3.10", "3.11", "3.12")) == bool(set(packages) & set(PADDLE))
    second = lock.endswith("paddle3.lock")
    assert packages["numpy"].version.startswith("1." if "paddlepaddle" in packages and not second else "2.")
    excepted = {"paddledet", "paddleslim"} if second else {"paddledet", "paddlepaddle", "paddleslim"}
    assert {name for name, _, _ in project.stated} == excepted


def test_the_locks_differ_in_paddle_and_in_what_it_needs() -> None:
    two, three = (read_lock((ROOT / lock).read_text(), linux("3.11")) for lock in LOCKS)
    assert two["paddlepaddle"].startswith("2.6") and two["numpy"].startswith("1.")
    assert three["paddlepaddle"].startswith("3.3") and three["numpy"].startswith("2.")
    common = set(two) & set(three) - {"paddlepaddle", "numpy"}
    assert {name for name in common if two[name] != three[name]} == set()
    assert set(three) <= set(two)


def test_an_extra_of_one_lock_is_none_of_the_other(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text("lock:\n\tuv --extra paddle --extra dev\n\tuv --extra paddle3 --extra dev\n")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["a"]\n'
        "optional-dependencies = {paddle=[\"p==2 ; os_name!='x'\", 'q==1'], paddle3=['p==3', 'q==1'], dev=['d']}\n"
        '[[tool.uv.dependency-metadata]]\nname = "p"\nversion = "2"\nrequires-dist = ["old"]\n'
        '[[tool.uv.dependency-metadata]]\nname = "q"\nversion = "1"\nrequires-dist = ["both"]\n'
    )
    default, three = read_project(tmp_path), read_project(tmp_path, lock="requirements/paddle3.lock")
    assert set(default.requires) == {"a", "p==2 ; os_name!='x'", "q==1", "d"}
    assert set(three.requires) == {"a", "p==3", "q==1", "d"}
    assert default.stated == (("p", "2", ("old",)), ("q", "1", ("both",)))
    assert three.stated == (("q", "1", ("both",)),)  # the exception for p 2 is none that has no effect


def test_the_committed_lock_contradicts_nothing_that_its_packages_declare() -> None:
    environment, lock = {name: str(value) for name, value in default_environment().items()}, installed_lock()
    pins = read_lock((ROOT / lock).read_text(), environment)
    packages = {name: package for name, package in check_lock.installed().items() if name in pins}
    other = {name: (package.version, pins[name]) for name, package in packages.items() if package.version != pins[name]}
    assert not other, "installed and locked differ; delete the environment and run make again"
    assert check_lock.check_installed(lock) == []


def test_a_broken_environment_is_a_line_and_exit_code_1(tmp_path: Path) -> None:
    """Another numpy in front of the installed one, as `pip install` of something else would leave it."""
    wrong, line = {
        "requirements.lock": ("2.1.0", "paddlepaddle 2.6.2 needs numpy<2,>=1.13, but numpy 2.1.0 is installed\n"),
        "requirements/paddle3.lock": ("1.26.4", "detpress needs numpy<2.3,>=2, but numpy 1.26.4 is installed\n"),
    }[installed_lock()]
    if sys.version_info >= (3, 13):  # no Paddle there
        wrong, line = "1.26.4", "detpress needs numpy>=2.1, but numpy 1.26.4 is installed\n"
    info = tmp_path / f"numpy-{wrong}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: numpy\nVersion: {wrong}\n")
    command = [sys.executable, str(ROOT / "requirements" / "check_lock.py"), "--installed"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert line in done.stderr
    assert done.stderr.endswith("Delete its folder and run make again.\n")
    assert "Traceback" not in done.stderr
