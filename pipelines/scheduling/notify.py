"""Tells a webhook or a program how a tick ended. Whatever goes wrong with that is reported and changes nothing else."""

from __future__ import annotations

import http.client
import json
import os
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from pipelines.config.options.schedule import NotifyOptions, expand
from pipelines.system.redact import redact, redact_text
from stages.processes import children, python

_TRIES, _PAUSE_SECONDS = 3, 1.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the token to a host that nobody named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def notify(options: NotifyOptions, entry: Mapping[str, Any]) -> list[str]:
    """Tell whom the options name, if they want this outcome; returns what went wrong."""
    if entry["outcome"] not in options.outcomes:
        return []
    body = json.dumps({"schema_version": 1, "host": socket.gethostname(), **redact(dict(entry))}).encode()
    problems: list[str] = []
    for wanted, tell in ((options.webhook, _post), (options.command, _start)):
        if wanted:
            try:
                tell(options, body)
            except KeyError as error:
                problems.append(f"schedule.notify: the environment variable {error.args[0]} is not set; nobody is told")
            except Exception as error:  # an answer may be anything, and what a tick did is not undone by it
                problems.append(f"schedule.notify: {_what(tell)} failed: {_without_url(options, error)}")
    return problems


def _what(tell: Any) -> str:
    return "the webhook" if tell is _post else "the command"


def _without_url(options: NotifyOptions, error: Exception) -> str:
    """The error in a line, without the URL: a webhook's path is often its password."""
    text = _plain(redact_text(str(error))) or type(error).__name__
    if options.webhook:
        try:
            url = expand(options.webhook)
        except KeyError:
            return text
        text = text.replace(url, f"{urlsplit(url).scheme}://{urlsplit(url).hostname}/***")
    return text


def _plain(text: str) -> str:
    """The first line of what another said, short and without what moves a terminal's cursor."""
    line = next((line for line in text.splitlines() if line.strip()), "").strip()
    return "".join(c if c.isprintable() else "?" for c in line)[:200]


def _post(options: NotifyOptions, body: bytes) -> None:
    """Send it within a time: an answer may come byte by byte, and each is in time for a socket.

    Raises:
        Exception: whatever became of it.
    """
    result: list[Exception | None] = []

    def work() -> None:
        try:
            _send(options, body)
            result.append(None)
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=work, name="webhook", daemon=True)
    thread.start()
    thread.join((_TRIES + 1) * (options.timeout + _PAUSE_SECONDS))
    if not result:
        raise TimeoutError(f"it had not ended its answer after {_TRIES} times schedule.notify.timeout")
    if result[0] is not None:
        raise result[0]


def _send(options: NotifyOptions, body: bytes) -> None:
    assert options.webhook is not None
    url = expand(options.webhook)
    if urlsplit(url).scheme not in ("http", "https"):  # urllib would also open files
        raise ValueError("its URL does not begin with http:// or https://")
    headers = {"Content-Type": "application/json", "User-Agent": "detpress"}
    if options.token_env:
        headers["Authorization"] = f"Bearer {os.environ[options.token_env]}"
    request = urllib.request.Request(url, body, headers)
    opener = urllib.request.build_opener(_NoRedirect)
    for left in reversed(range(_TRIES)):
        try:
            with opener.open(request, timeout=options.timeout):
                return
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 or not left:
                raise ValueError(f"it answered {error.code} {error.reason}") from error
        except http.client.HTTPException as error:
            if not left:
                raise ValueError(f"its answer is no HTTP ({type(error).__name__}: {error})") from error
        except OSError:
            if not left:
                raise
        time.sleep(_PAUSE_SECONDS)


def _start(options: NotifyOptions, body: bytes) -> None:
    command = [expand(part) for part in options.command]
    done = children.run(command, given=body.decode(), timeout=options.timeout, env=python.outer_environment())
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it wrote nothing"]
        raise ValueError(f"exit code {done.returncode}: {last[0]}")
