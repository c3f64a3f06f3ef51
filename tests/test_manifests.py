"""The manifests of docs/scheduling.md: parsed, checked by those who read them, and the pod's script really run."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.scheduling.records import BY_EXIT_CODE
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "scheduling.md").read_text()
MANIFESTS = dict(re.findall(r"<!-- manifest: (\S+) -->\n```\w*\n(.*?)```", PAGE, re.DOTALL))


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=True, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(MANIFESTS[name])
    return parser


def test_all_of_them_are_there() -> None:
    units = ["detpress-retrain.service", "detpress-retrain.timer", "detpress-schedule.service"]
    assert set(MANIFESTS) == {"crontab", *units, "cronjob.yaml"}


def test_the_crontab_line() -> None:
    (line,) = MANIFESTS["crontab"].strip().splitlines()
    fields, command = line.split(None, 5)[:5], line.split(None, 5)[5]
    from datetime import timezone

    from pipelines.config.cron import cron_trigger

    cron_trigger(" ".join(fields), timezone.utc)
    assert "%" not in command  # cron would read it as a newline
    assert "flock -n" in command and "detpress retrain " in command
    subprocess.run(["/bin/sh", "-n", "-c", command], check=True)


def test_the_systemd_units(tmp_path: Path) -> None:
    service, timer, whole = (unit(n) for n in MANIFESTS if n.endswith((".service", ".timer")))
    assert service["Service"]["Type"] == "oneshot" and timer["Timer"]["Persistent"] == "true"
    fine = {BY_EXIT_CODE[int(code)] for code in service["Service"]["SuccessExitStatus"].split()}
    assert fine == {"kept", "unchanged"}
    assert whole["Service"]["RestartPreventExitStatus"] == "2" and whole["Service"]["Restart"] == "on-failure"
    if shutil.which("systemd-analyze") is None:
        return
    binary = tmp_path / "detpress"
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    for name in MANIFESTS:
        if name.endswith((".service", ".timer")):
            text = re.sub(r"/srv/detpress/.venv/bin/detpress", str(binary), MANIFESTS[name])
            (tmp_path / name).write_text(text.replace("WorkingDirectory=/srv/detpress", f"WorkingDirectory={tmp_path}"))
    units = [str(path) for path in sorted(tmp_path.glob("detpress-*"))]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "detpress-" in line]
    assert ours == []


def cronjob() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(MANIFESTS["cronjob.yaml"])
    return content


def test_the_kubernetes_cronjob() -> None:
    job = cronjob()
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert spec["concurrencyPolicy"] == "Forbid" and spec["startingDeadlineSeconds"] >= 60
    inner = spec["jobTemplate"]["spec"]
    pod = inner["template"]["spec"]
    assert pod["restartPolicy"] == "Never"  # which a podFailurePolicy asks for
    (container,) = pod["containers"]
    (rule,) = [r for r in inner["podFailurePolicy"]["rules"] if "onExitCodes" in r]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["containerName"] == container["name"]
    # The exit codes that stay errors and are not retried are those of wrong input.
    assert [BY_EXIT_CODE[code] for code in rule["onExitCodes"]["values"]] == ["refused"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in pod["volumes"]}
    names = [variable for variable in container["env"] if "value" in variable]
    assert names == []  # secrets come from a Secret
    cron = spec["schedule"]
    assert len(cron.split()) == 5


def pod(tmp_path: Path, body: str) -> subprocess.Popen[bytes]:
    """The container's command, with a ``detpress`` of our own."""
    (tmp_path / "detpress").write_text(f"#!/bin/sh\n{body}\n")
    (tmp_path / "detpress").chmod(0o755)
    container = cronjob()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.Popen([*container["command"], *container["args"]], env=environment)


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (5, 0), (2, 2), (4, 4)])
def test_the_pods_script_passes_on_what_is_an_error(tmp_path: Path, code: int, expected: int) -> None:
    assert pod(tmp_path, f'test "$1" = retrain || exit 9; exit {code}').wait(20) == expected


def test_a_pod_that_is_moved_lets_the_run_write_its_checkpoint(tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    body = f"trap 'sleep 0.3; echo x > {saved}; exit 143' TERM; : > {tmp_path}/up; while :; do sleep 0.1; done"
    process = pod(tmp_path, body)
    limit = time.monotonic() + 20
    while not (tmp_path / "up").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(30) == 143
    finally:
        process.kill()
    assert saved.exists()
