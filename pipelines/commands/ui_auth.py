"""The password of ``detpress ui``: MLflow's basic-auth app, with its one user made from the environment.

``python -m pipelines.commands.ui_auth`` writes that user into the database of users; a process of its own, since it
imports MLflow's server. MLflow itself sets a password only when the user is made: a changed one would be ignored.
"""

from __future__ import annotations

import base64
import os
import secrets
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.system.database import ensure, set_aside, sqlite_url
from pipelines.system.files import write_text
from pipelines.system.output import say
from pipelines.system.redact import redact_text
from stages.errors import DetpressError, ExitCode, InputError
from stages.processes import children, python

USER, PASSWORD = "DETPRESS_UI_USER", "DETPRESS_UI_PASSWORD"
MIN_LENGTH = 12  # MLflow's own bound
_SECONDS = 120.0


@dataclass(frozen=True)
class Login:
    """Who may open the UI, as administrator."""

    user: str
    password: str

    @property
    def header(self) -> str:
        """Value of ``Authorization``."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def login(env: Mapping[str, str]) -> Login | None:
    """The login that the environment names, if it names one.

    Raises:
        InputError: the password is too short, or there is only a user.
    """
    password = env.get(PASSWORD, "")
    if not password:
        if env.get(USER):
            raise InputError(f"{USER} is set and {PASSWORD} is not; set both, or neither")
        return None
    if len(password) < MIN_LENGTH:
        raise InputError(f"{PASSWORD} is shorter than {MIN_LENGTH} characters; choose a longer one")
    return Login(env.get(USER) or "admin", password)


def prepare(folder: Path, who: Login) -> dict[str, str]:
    """Write the user down; returns what the server's environment needs beside that.

    Raises:
        DetpressError: the user's database cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "users.db"
    if text := set_aside(database, _whole):
        say(f"note: {text}")
    uri = sqlite_url(database.resolve()).replace("%", "%%")  # as such files have it
    settings = folder / "users.ini"  # no secret in it
    write_text(
        settings,
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = {uri}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
    )
    more = {
        "MLFLOW_AUTH_CONFIG_PATH": str(settings.resolve()),
        "MLFLOW_AUTH_ADMIN_USERNAME": who.user,
        "MLFLOW_AUTH_ADMIN_PASSWORD": who.password,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
    }
    done = children.run(
        python.command("pipelines.commands.ui_auth", str(database.resolve())),
        env=python.environment(**more),
        timeout=_SECONDS,
    )
    if done.returncode:
        last = redact_text((done.stderr.strip().splitlines() or ["no message"])[-1]).replace(who.password, "***")
        raise DetpressError(f"the password of the UI cannot be set: {last}; check {PASSWORD} and {database}")
    return more


def main() -> int:
    """Let the database have the user with the password of now, as administrator."""
    database = Path(sys.argv[1])
    ensure(database, _write_user, _whole, mode=0o600)
    _write_user(database)
    return ExitCode.DONE


def _write_user(database: Path) -> None:
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

    name, password = os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ["MLFLOW_AUTH_ADMIN_PASSWORD"]
    store = SqlAlchemyStore()
    store.init_db(sqlite_url(database))
    if store.has_user(name):
        store.update_user(name, password=password, is_admin=True)
    else:
        store.create_user(name, password, is_admin=True)
    store.engine.dispose()


def _whole(connection: sqlite3.Connection, tables: set[str]) -> bool:
    return "users" in tables and connection.execute("SELECT id FROM users").fetchone() is not None


if __name__ == "__main__":
    sys.exit(main())
