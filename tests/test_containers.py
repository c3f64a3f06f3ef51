"""The images and the jobs of docs/containers.md: read, held to the lock, and executed without a builder."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.cli import COMMANDS
from pipelines.config.keys import leaf_paths
from pipelines.config.schema import PipelineConfig
from pipelines.runs.bundles import write_zip
from requirements.check_lock import Project, installed, installed_lock, linux, read_lock, read_project, violations
from requirements.part_of_lock import blocks, main, names_in, part
from tests import dockerfile
from tests.conftest import ROOT
from tests.stages.bundle.test_bundle import made  # noqa: F401 (a fixture)

FILES = ["Dockerfile", "Dockerfile.gpu"]
FOLDER = ROOT / "requirements"
LOCK = (ROOT / "requirements.lock").read_text()
PAGE = (ROOT / "docs" / "containers.md").read_text()
JOBS = dict(re.findall(r"<!-- ci: (\w+) -->\n```yaml\n(.*?)```", PAGE, re.DOTALL))
LARGEST, BASE = 1_500_000_000, 200_000_000
"""Bytes that the runtime image may have, and what is set aside of them for the base (python:3.11-slim has 130 MB)."""


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_both_images_for_a_user_without_rights(name: str) -> None:
    arguments, stages = dockerfile.read(FOLDER / name)
    (base,) = arguments
    assert (arguments[base] is None) == (name == "Dockerfile.gpu")  # the CUDA base has no default
    assert stages[-1].name == "full"  # what a builder makes that is told no target
    for target in ("runtime", "full"):
        line = dockerfile.line_of(stages, target)
        assert line[0].base == f"${{{base}}}"
        steps = [step for stage in line for step in stage.steps]
        users = [text for word, text in steps if word == "USER"]
        assert users[-1] == "10001:10001" and steps[-1][0] == "USER"  # a number, as runAsNonRoot wants it
        last = dict(steps)
        assert last["WORKDIR"] == "/work" and json.loads(last["ENTRYPOINT"]) == ["detpress"]
        (health,) = [text for word, text in steps if word == "HEALTHCHECK"]
        assert json.loads(health[health.index("[") :]) == ["detpress", "--version"]
        assert any("/opt/detpress/bin:$PATH" in text for word, text in steps if word == "ENV")
        copied = [text for word, text in steps if word == "COPY"]
        assert copied == [f"--from={target}-packages /opt/detpress/ /opt/detpress/"]  # no source, no pip cache


@pytest.mark.parametrize("name", FILES)
def test_packages_come_by_their_hashes_and_from_no_named_host(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.search(r"https?://|\b[\w-]+\.(?:io|com|org|dev|net)\b", text)
    for stage in dockerfile.read(FOLDER / name)[1]:
        for run in stage.of("RUN"):
            for call in re.findall(r"-m pip [^&]*", run):
                assert "--no-deps" in call and "--no-cache-dir" in call
                assert "--require-hashes" in call or "--no-index" in call or call.rstrip().endswith("/own .")


@pytest.mark.parametrize("name", FILES)
def test_nothing_gets_in_but_what_is_named(name: str) -> None:
    """What is copied is tracked, and no more than what the ignore file lets through."""
    sources: set[str] = set()
    for stage in dockerfile.read(FOLDER / name)[1]:
        for text in stage.of("COPY"):
            if not text.startswith("--from="):
                sources |= set(text.split()[:-1])
    assert {"pipelines/", "stages/", "conf/", "artifacts/demo/"} < sources and "artifacts/" not in sources
    lines = (FOLDER / f"{name}.dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = {rule[1:] for rule in rules if rule.startswith("!")}
    for source in sources:
        assert (ROOT / source).exists()
        assert any(source.rstrip("/") == one or source.startswith(f"{one}/") for one in allowed), source
    assert all(any(source.startswith(one) for source in sources) for one in allowed)


def closure(image: str, python: str) -> list[str]:
    """What the packages of an image declare and it does not have."""
    environment = linux(python)
    pins = read_lock(part(image, LOCK), environment)
    have = {name: package for name, package in installed().items() if name in pins}
    stated = Project((), read_project().stated)
    return violations(have, stated, environment)


@pytest.mark.parametrize("image", ["runtime", "full"])
def test_an_image_has_what_its_packages_need(image: str) -> None:
    if image == "full" and (lock := installed_lock()) != "requirements.lock":
        pytest.skip(f"what is installed here comes from {lock}, what is in the images from requirements.lock")
    assert closure(image, "3.11") == []


def test_the_full_image_has_what_the_project_needs_and_no_tools_of_its_developers() -> None:
    environment = linux("3.11")
    full, runtime = (read_lock(part(image, LOCK), environment) for image in ("full", "runtime"))
    assert set(runtime) < set(full) and not [name for name in runtime if "paddle" in name]
    needed = [Requirement(text) for text in _declared("dependencies", "paddle", "openvino", "s3", "ray", "search")]
    assert [one.name for one in needed if canonicalize_name(one.name) not in full] == []
    assert not {"pytest", "ruff", "mypy", "moto", "playwright", "nncf"} & set(full)


def _declared(*groups: str) -> list[str]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    texts = [text for group in groups for text in (project[group] if group in project else extras[group])]
    return [text for text in texts if "python_version >=" not in text]


def test_a_part_of_the_lock_keeps_its_hashes_and_refuses_names_that_it_has_not(capsys: Any) -> None:
    assert main(["runtime", "--without", "onnxruntime", "--with", "nvidia-ml-py"]) == 0
    out = capsys.readouterr().out
    assert {name for name, _ in blocks(out)} == {*names_in(FOLDER / "runtime.txt"), "nvidia-ml-py"} - {"onnxruntime"}
    assert all("--hash=sha256:" in lines for _, lines in blocks(out))
    assert main(["full", "--with", "nothing-such"]) == 2
    assert capsys.readouterr().err == (
        "error: requirements.lock has no nothing-such; correct the name, or the list in requirements/\n"
    )


def test_the_gpu_lock_has_one_hashed_package() -> None:
    ((name, lines),) = blocks((FOLDER / "gpu.lock").read_text())
    assert name == "onnxruntime-gpu" and "--hash=sha256:" in lines


# --- make image ---------------------------------------------------------------------------------------------------


def make_image(folder: Path, *arguments: str, builders: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """``make image`` on a machine whose only programs are a shell and these builders."""
    folder.mkdir(exist_ok=True)
    for name, body in builders.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    command = [str(shutil.which("make")), "-C", str(ROOT), "image", "PYTHON=none", *arguments]
    return subprocess.run(command, env={"PATH": str(folder)}, capture_output=True, text=True, timeout=60)


CALLED = 'if [ "$1" = info ]; then exit 0; fi; echo "$0 $*"'
DEAD = 'echo "Cannot connect to the daemon" >&2; exit 1'


def test_the_first_builder_that_works_is_called(tmp_path: Path) -> None:
    done = make_image(tmp_path / "a", builders={"docker": DEAD, "podman": CALLED})
    assert done.returncode == 0, done.stderr
    (called,) = [line for line in done.stdout.splitlines() if " build " in line]
    assert Path(called.split()[0]).name == "podman"
    assert " ".join(called.split()[1:]) == (
        "build --file requirements/Dockerfile --target full --tag detpress:latest --format docker "
        "--ignorefile requirements/Dockerfile.dockerignore ."
    )
    done = make_image(tmp_path / "b", "TARGET=runtime", "BASE=python@sha256:0", builders={"docker": CALLED})
    assert "--target runtime --tag detpress:runtime --build-arg PYTHON_IMAGE=python@sha256:0 ." in done.stdout
    done = make_image(tmp_path / "c", "GPU=1", "BASE=cuda@sha256:0", builders={"docker": CALLED})
    assert "--file requirements/Dockerfile.gpu --target full --tag detpress:latest-gpu" in done.stdout
    assert "--build-arg BASE=cuda@sha256:0 ." in done.stdout


@pytest.mark.parametrize(
    ("arguments", "builders", "said"),
    [
        ((), {}, "No container builder works here; install docker (and start its service), podman or buildah"),
        ((), {"docker": DEAD}, "No container builder works here"),
        (("TARGET=x",), {"docker": CALLED}, 'TARGET is full (the default) or runtime, not "x"'),
        (("GPU=1",), {"docker": CALLED}, "name it by its digest: make image GPU=1 BASE=NAME@sha256:..."),
        (("GPU=1", "BASE=cuda:13"), {"docker": CALLED}, "name it by its digest"),
    ],
)
def test_what_is_missing_is_one_line(
    arguments: tuple[str, ...], builders: dict[str, str], said: str, tmp_path: Path
) -> None:
    done = make_image(tmp_path, *arguments, builders=builders)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("make: ")]
    assert said in line


def test_the_manifests_name_the_image_that_is_made() -> None:
    for page in ("scheduling.md", "clusters.md"):
        text = (ROOT / "docs" / page).read_text()
        assert re.findall(r"^ +image: (\S+)$", text, re.MULTILINE) == ["detpress:latest"]
        assert "runAsUser: 10001" in text and "fsGroup: 10001" in text


# --- the runtime image, by its own steps --------------------------------------------------------------------------


@pytest.mark.slow
def test_the_steps_of_the_runtime_image_make_one_that_verifies_and_predicts(made: Any, tmp_path: Path) -> None:  # noqa: F811
    if sys.version_info[:2] not in ((3, 11), (3, 12)):
        pytest.skip("the images have Python 3.11 or 3.12")
    _needs_an_index(tmp_path)
    root, left_out = tmp_path / "root", list[str]()
    stages = dockerfile.read(FOLDER / "Dockerfile")[1]
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info[1]}"
    dockerfile.execute(stages, "runtime", ROOT, root, python, left_out)
    assert len(left_out) == 1 and "useradd" in left_out[0]  # nothing else of the image was left out

    own = root / "opt/detpress"
    size = sum(path.lstat().st_size for path in own.rglob("*") if not path.is_symlink())
    print(f"runtime image: {size / 1e6:.0f} MB of packages")
    assert size + BASE < LARGEST
    environment = {"PATH": f"{own}/bin:/usr/bin:/bin", "HOME": str(tmp_path)}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)

    assert run("python", "-c", "import paddle").stderr.endswith("No module named 'paddle'\n")
    assert not (own / "bin" / "pip").exists()
    assert run("detpress", "--version").stdout.startswith("detpress ")
    bundle = tmp_path / "bundle.zip"
    write_zip(made, bundle)
    verified = run("detpress", "verify", str(bundle), "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["agreement"] == 1.0
    golden = str(made.root / "golden" / "000.png")
    expected = json.loads(made.path("golden/expected.json").read_text())[0]["detections"]
    for what in (str(bundle), str(made.root / "engine" / "model.onnx")):
        found = run("detpress", "predict", what, golden, "--threshold", "0.3", "--no-pictures")
        assert found.returncode == 0, found.stderr
        detections = json.loads(found.stdout)["detections"]
        assert len(detections) == len([one for one in expected if one["score"] > 0.3]) > 0


def _needs_an_index(folder: Path) -> None:
    """Skip where the packages cannot be fetched."""
    pin = next(lines for name, lines in blocks(LOCK) if name == "mdurl")
    (folder / "one.txt").write_text(pin)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--retries", "0", "--no-cache-dir", "--dest", str(folder / "one"), "-r", str(folder / "one.txt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"the package index does not answer ({(done.stderr.strip().splitlines() or ['no reason'])[-1]})")


# --- gates in a pull request --------------------------------------------------------------------------------------


def commands(kind: str) -> list[str]:
    content = yaml.safe_load(JOBS[kind])
    if kind == "github":
        (job,) = content["jobs"].values()
        return [step["run"] for step in job["steps"] if "run" in step]
    return list(content["detector"]["script"])


def test_the_jobs_are_what_the_two_services_read() -> None:
    github, gitlab = (yaml.safe_load(JOBS[kind]) for kind in ("github", "gitlab"))
    assert "pull_request" in github["on"] and github["permissions"] == {"contents": "read"}
    (job,) = github["jobs"].values()
    assert {"runs-on", "container", "steps"} <= set(job)
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    assert set(gitlab["detector"]) <= {"image", "rules", "timeout", "script", "artifacts"}
    assert gitlab["detector"]["image"]["entrypoint"] == [""]  # the image's own is no shell
    assert commands("github") == commands("gitlab")


def test_every_command_and_key_of_the_jobs_exists() -> None:
    keys = set(leaf_paths(PipelineConfig)) | {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    for command in commands("github"):
        program, name, *words = shlex.split(command)
        assert program == "detpress" and name in COMMANDS
        assert [word for word in words if "=" in word and word.partition("=")[0] not in keys] == []


@pytest.mark.parametrize("kind", ["github", "gitlab"])
@pytest.mark.parametrize(("compress", "verify"), [(0, 0), (3, 0), (2, 0), (4, 0), (0, 3), (0, 2)])
def test_a_gate_that_does_not_hold_fails_the_job(kind: str, compress: int, verify: int, tmp_path: Path) -> None:
    (tmp_path / "detpress").write_text(
        f'#!/bin/sh\necho "$1" >> called\n[ "$1" = verify ] && exit {verify}\n'
        f'[ "$#" -gt 5 ] && exit {compress}\nexit 9\n'
    )
    (tmp_path / "detpress").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    codes = []
    for command in commands(kind):
        codes.append(subprocess.run(["bash", "-e", "-c", command], cwd=tmp_path, env=environment).returncode)
        if codes[-1]:
            break  # as both services do
    assert codes == ([0, verify] if compress == 0 else [compress])
    assert (tmp_path / "called").read_text().split()[0] == "compress"
