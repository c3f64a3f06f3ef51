"""What docs/clusters.md shows is there: its scripts parse and work, its YAML loads, its commands and keys exist."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from pipelines.cli import COMMANDS
from pipelines.config.keys import leaf_paths
from pipelines.config.schema import PipelineConfig
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "clusters.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SCRIPTS = [text for kind, text in BLOCKS if kind == "bash"]
GROUPS = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}


def manifest() -> dict[str, object]:
    (text,) = [text for kind, text in BLOCKS if kind == "yaml"]
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded


def container() -> dict[str, object]:
    template = manifest()["spec"]["jobTemplate"]["spec"]["template"]  # type: ignore[index]
    (found,) = template["spec"]["containers"]
    return dict(found)


def commands() -> list[list[str]]:
    """Each ``detpress`` command line of the page."""
    texts = [text for _, text in BLOCKS] + [container()["args"][0]]  # type: ignore[index]
    lines = "\n".join(texts).replace("\\\n", " ").splitlines()
    found = [line.strip() for line in lines if line.strip().startswith("detpress ")]
    found += re.findall(r"`(detpress [^`]+)`", PAGE)
    return [shlex.split(line.replace("...", "").removesuffix("&")) for line in found]


def test_every_command_and_key_exists() -> None:
    keys = set(leaf_paths(PipelineConfig)) | GROUPS
    launcher = yaml.safe_load((ROOT / "conf/hydra/launcher/ray.yaml").read_text())
    keys |= {f"hydra.launcher.{name}" for name in launcher} | {"hydra/launcher"}
    told = commands()
    assert len(told) > 6
    for _, name, *words in told:
        assert name in COMMANDS
        for word in words:
            key, equals, _ = word.partition("=")
            assert not equals or word.startswith("-") or key in keys, word
    mentioned = re.findall(r"`((?:run|tracking|hydra\.launcher)\.[a-z_]+)", PAGE)
    assert len(mentioned) > 8 and set(mentioned) <= keys


@pytest.mark.parametrize("script", SCRIPTS, ids=["job", "sweep"])
def test_the_scripts_parse(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)  # raises, if bash does not understand it


@pytest.mark.parametrize(("ends", "requeued"), [("0", False), ("3", False), ("4", True), ("TERM", True)])
def test_a_slurm_job_goes_back_into_the_queue_when_that_may_help(tmp_path: Path, ends: str, requeued: bool) -> None:
    for name, body in {
        "detpress": 'trap "exit 143" TERM; touch started\n'
        '[ "$ENDS" = TERM ] || exit "$ENDS"\nwhile :; do sleep 0.05; done',
        "scontrol": 'echo "$@" > requeued',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ENDS": ends, "SLURM_JOB_ID": "7"}
    process = subprocess.Popen(["bash", "-c", SCRIPTS[0]], cwd=tmp_path, env=env)
    if ends == "TERM":
        while not (tmp_path / "started").exists():
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == (143 if ends == "TERM" else int(ends))
    assert (tmp_path / "requeued").exists() is requeued


def test_the_cron_job_knows_the_exit_codes(tmp_path: Path) -> None:
    job = manifest()["spec"]["jobTemplate"]["spec"]  # type: ignore[index]
    (rule, _) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"]["values"] == [2, 3] and rule["onExitCodes"]["containerName"] == container()["name"]
    mounts = {mount["name"] for mount in container()["volumeMounts"]}  # type: ignore[attr-defined]
    assert mounts == {volume["name"] for volume in job["template"]["spec"]["volumes"]}
    (tmp_path / "detpress").write_text('#!/bin/sh\nexit "$ENDS"\n')
    (tmp_path / "detpress").chmod(0o755)
    for ends, code in (("0", 0), ("5", 0), ("2", 2), ("4", 4)):
        env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "ENDS": ends}
        assert subprocess.run(["sh", "-c", container()["args"][0]], env=env, check=False).returncode == code  # type: ignore[index]
