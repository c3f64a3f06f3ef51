"""``detpress ui`` as a process, for the tests that look at it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.conftest import ROOT


@contextlib.contextmanager
def served(artifacts: Path, port: int, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """The link that it prints; it is ended with the ``with``."""
    command = [sys.executable, "-m", "pipelines.cli", "ui", "--artifacts", str(artifacts), "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    process = subprocess.Popen([*command, *arguments], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    try:
        links = (line.strip() for line in process.stdout if "/#/" in line)
        link = next(links, None)
        assert link is not None, "it ended without a link"
        yield link
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)
        process.stdout.close()
