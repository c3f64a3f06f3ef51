"""``detpress ui``: MLflow's own server on the store that the runs are written to."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import psutil

from pipelines.commands.ui_auth import PASSWORD, USER, Login, login, prepare
from pipelines.config.options.tracking import TrackingOptions
from pipelines.system import telemetry
from pipelines.system.arguments import Parser
from pipelines.system.database import sqlite_file
from pipelines.system.output import say
from pipelines.system.redact import redact_text
from pipelines.system.signals import stopped_by
from pipelines.system.slug import matching
from pipelines.tracking.client import artifact_location, connect, half_database, store_uri
from pipelines.tracking.experiments import VIEW, VIEW_TAG
from pipelines.tracking.moved import follow
from stages.errors import DetpressError, ExitCode, InputError
from stages.processes import python
from stages.processes.children import Child

START_SECONDS = 120.0  # it takes about 8 on an idle machine
STOP_SECONDS = 20.0  # and more than 4 to stop
ORPHAN_SECONDS = 5.0  # where nobody waits for it any more
MODE = "workflowType=machine_learning"  # else the pages open on traces of language models


def main(arguments: Sequence[str], debug: bool = False) -> int:
    """Serve the runs of an artifacts folder, or of the store that ``--uri`` names, and return the exit code."""
    parser = Parser(prog="detpress ui", description="Open the experiment tracking UI on the runs of this folder.")
    parser.add_argument("--artifacts", default="artifacts", metavar="DIR", help="where the results are (run.artifacts)")
    parser.add_argument("--uri", help="another store, as in tracking.uri (default: the database under --artifacts)")
    parser.add_argument(
        "--host", default="127.0.0.1", help="interface to listen on (default: %(default)s, this machine)"
    )
    parser.add_argument("--port", default="5000", help="1 to 65535; default: %(default)s")
    parser.add_argument(
        "--allowed-hosts",
        metavar="NAMES",
        help="names that browsers may reach it under, comma-separated (default: this machine and private addresses)",
    )
    parser.epilog = (
        f"Beyond this machine it asks for a password: set {PASSWORD} (and {USER}; default: admin). It is sent in "
        "clear, so put TLS in front, or use a tunnel: ssh -L 5000:127.0.0.1:5000 HOST."
    )
    given = parser.parse_args(arguments)
    options = TrackingOptions(uri=given.uri, folder=str(Path(given.artifacts) / "mlflow"))
    return run_ui(options, given.host, _port(given.port), names=given.allowed_hosts)


def _port(text: str) -> int:
    """The number of a port. Raises InputError for what is none."""
    if re.fullmatch("[0-9]{1,5}", text) and 1 <= int(text) <= 65535:
        return int(text)
    raise InputError(f"--port {text}: not a port; choose a number from 1024 to 65535 (below that: root alone)")


def run_ui(options: TrackingOptions, host: str = "127.0.0.1", port: int = 5000, *, names: str | None = None) -> int:
    """Serve the runs until Ctrl-C, SIGTERM or the end of the terminal; returns the exit code.

    Where ``tracking.uri`` names a server there is nothing to start: its address is shown.

    Args:
        names: hosts that browsers may ask for, comma-separated.

    Raises:
        InputError: the port is taken, or others would reach the server without a password.
        DetpressError: the server did not start; the message ends with its last lines.
    """
    if store_uri(options).startswith(("http://", "https://")):
        _print(f"the runs are on the server that tracking.uri names: {redact_text(store_uri(options))}/#/?{MODE}")
        return ExitCode.DONE
    who = login(os.environ)
    if who is None and not _is_loopback(host):
        raise InputError(
            f"--host {host}: others would reach the runs there, and could change them; set {PASSWORD} to a password of "
            "at least 12 characters, or leave --host out and use a tunnel (ssh -L)"
        )
    _require_free(host, port)
    _require_database(options)
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log, stopped_by():
        process = _start(options, host, port, log, who=who, names=names)
        try:
            _await(process, host, port, log)
            _print(f"MLflow shows the runs of {Path(options.folder)}. Ctrl-C ends it.\n\n  {link(host, port, who)}\n")
            code = process.wait()
            raise DetpressError(f"the MLflow server ended by itself with exit code {code}:", _tail(log))
        except (KeyboardInterrupt, SystemExit):
            return ExitCode.DONE
        finally:
            process.end(STOP_SECONDS)


def link(host: str, port: int, who: Login | None = None) -> str:
    """The page to open: the experiment of the newest run, or the list of experiments if there is none."""
    base = f"http://{_browser_host(host)}:{port}"
    experiments = _post(base, "experiments/search", {"max_results": 1000}, who).get("experiments", [])
    ids = [e["experiment_id"] for e in experiments]
    wanted = matching({"tags.node": "pipeline"})
    newest = {"filter": wanted, "order_by": ["attributes.start_time DESC"], "max_results": 1}
    runs = _post(base, "runs/search", {"experiment_ids": ids, **newest}, who).get("runs", [])
    if not runs:
        return f"{base}/#/experiments?{MODE}"
    experiment = next(e for e in experiments if e["experiment_id"] == runs[0]["info"]["experiment_id"])
    has_view = any(tag["key"] == VIEW_TAG for tag in experiment.get("tags", []))
    view = f"&viewStateShareKey={VIEW}" if has_view else ""
    return f"{base}/#/experiments/{experiment['experiment_id']}/runs?{MODE}{view}"


def _start(
    options: TrackingOptions,
    host: str,
    port: int,
    log: IO[str],
    *,
    who: Login | None = None,
    names: str | None = None,
) -> Child:
    location = artifact_location(options)
    assert location is not None, "only a server's own store has no location"
    Path(options.folder).mkdir(parents=True, exist_ok=True)
    server = ("mlflow", "server", "--host", host, "--port", str(port), "--workers", "1")
    command = python.command("stages.processes.with_parent", *server)
    command += ["--default-artifact-root", location, "--uvicorn-opts", "--log-level warning"]
    env = telemetry.off(python.environment())
    if names is not None:
        command += ["--allowed-hosts", names]
    if who is not None:
        command += ["--app-name", "basic-auth"]
        env |= prepare(Path(options.folder), who)
    env["MLFLOW_BACKEND_STORE_URI"] = _absolute(store_uri(options))  # not an argument: `ps` would show a password
    env["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # language model jobs: eight processes nobody needs here
    return Child(
        command,
        cwd=options.folder,  # MLflow's web server searches the current folder for modules
        stdout=log,
        stderr=subprocess.STDOUT,
        env=env,
        knows=True,
        grace=ORPHAN_SECONDS,
    )


def _absolute(uri: str) -> str:
    """The address of a store, whatever folder it is read in."""
    scheme, separator, path = uri.rpartition(":///") if ":///" in uri else uri.rpartition("file:")
    is_file = scheme.startswith("sqlite") or "://" not in uri
    return f"{scheme}{separator}{Path(path).resolve()}" if is_file else uri


def _await(process: Child, host: str, port: int, log: IO[str]) -> None:
    """Return when the server answers: this one, since another program may have taken the port while it started."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            _require_free(host, port)
            raise DetpressError(f"the MLflow server did not start (exit code {process.returncode}):", _tail(log))
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://{_browser_host(host)}:{port}/health", timeout=2) as answer,
        ):
            if answer.status == 200 and _listens(process, port):
                return
        time.sleep(0.2)
    raise DetpressError(f"the MLflow server did not answer within {START_SECONDS:g} s; its last lines:", _tail(log))


def _listens(process: Child, port: int) -> bool:
    """Whether the server, or a process that it started, listens on the port."""
    with contextlib.suppress(psutil.Error):
        server = psutil.Process(process.pid)
        for one in [server, *server.children(recursive=True)]:
            # psutil 6 has the new name, and warns about the old one.
            found = getattr(one, "net_connections", None) or one.connections
            if any(c.status == psutil.CONN_LISTEN and c.laddr.port == port for c in found("tcp")):
                return True
    return False


def _require_database(options: TrackingOptions) -> None:
    """MLflow's server would make a missing database in its place, and leave half of it if it is stopped meanwhile."""
    if text := half_database(options):
        say(f"note: {text}")
    path = sqlite_file(store_uri(options))
    if path is not None and not path.exists():
        connect(options)
    elif path is not None and options.uri is None:
        follow(path, options)


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port, or another --host"
            ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _browser_host(host: str) -> str:
    """An address that can be opened here, for a host that may mean "every interface"."""
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _post(base: str, what: str, body: dict[str, Any], who: Login | None = None) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"} | ({} if who is None else {"Authorization": who.header})
    request = urllib.request.Request(f"{base}/api/2.0/mlflow/{what}", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        content: dict[str, Any] = json.load(answer)
    return content


def _tail(log: IO[str]) -> list[str]:
    log.seek(0)
    return [f"    {line}" for line in redact_text(log.read()).splitlines()[-12:]]


def _print(text: str) -> None:
    print(text, flush=True)
