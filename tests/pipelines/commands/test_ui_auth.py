"""Beyond this machine, the tracking UI asks for a password, and none is left standing."""

from __future__ import annotations

import base64
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pipelines.cli import main
from pipelines.commands.ui_auth import PASSWORD, USER, Login, login, prepare
from stages.errors import InputError
from tests.pipelines.serving_ui import served
from tests.pipelines.tracking.test_observer import closed_port

GOOD, OLD = "correct-horse-battery", "an-earlier-password"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "example.test"])
def test_without_a_password_nobody_else_is_let_in(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.delenv(USER, raising=False)
    assert main(["ui", "--artifacts", str(tmp_path), "--host", host]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"--host {host}: others would reach the runs there" in said and f"set {PASSWORD}" in said
    assert list(tmp_path.iterdir()) == []


def test_which_login_the_environment_names() -> None:
    assert login({}) is None
    assert login({PASSWORD: GOOD}) == Login("admin", GOOD)
    assert login({PASSWORD: GOOD, USER: "anna"}) == Login("anna", GOOD)
    with pytest.raises(InputError, match="shorter than 12 characters"):
        login({PASSWORD: "hunter2"})
    with pytest.raises(InputError, match=f"{USER} is set and {PASSWORD} is not"):
        login({USER: "anna"})


def status(port: int, path: str, who: tuple[str, str] | None = None, host: str | None = None) -> int:
    headers = {} if who is None else {"Authorization": "Basic " + base64.b64encode(":".join(who).encode()).decode()}
    headers |= {} if host is None else {"Host": host}
    asked = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


@pytest.mark.slow
def test_the_server_wants_the_password_of_now_everywhere(tmp_path: Path) -> None:
    folder = tmp_path / "mlflow"
    prepare(folder, Login("admin", OLD))
    port = closed_port()
    with served(tmp_path, port, "--host", "0.0.0.0", env={PASSWORD: GOOD}) as link:
        assert link.startswith(f"http://127.0.0.1:{port}/#/")
        page, experiment = "/", "/api/2.0/mlflow/experiments/get?experiment_id=0"
        for path in (page, experiment, "/graphql"):
            assert status(port, path) == 401, path
        for who in (("admin", OLD), ("admin", "password1234"), ("admin", "")):
            assert status(port, experiment, who) == 401
        assert status(port, page, ("admin", GOOD)) == status(port, experiment, ("admin", GOOD)) == 200
        assert status(port, experiment, ("admin", GOOD), host="evil.test") == 403  # a page that rebinds its name
    assert stat.S_IMODE((folder / "users.db").stat().st_mode) == 0o600
    for path in folder.iterdir():
        assert GOOD.encode() not in path.read_bytes()
