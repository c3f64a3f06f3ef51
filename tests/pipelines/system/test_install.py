"""Install lines are told as they work from where one is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pipelines.system import install
from pipelines.system.failures import tell
from stages.errors import UnavailableError
from tests.conftest import ROOT

LINE = 'pip install "detpress[openvino]"'


@pytest.fixture
def activated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "_activated", lambda: True)


@pytest.mark.usefixtures("activated")
def test_in_a_checkout_the_checkout_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert install.fitted(LINE) == 'pip install -e ".[openvino]"'
    assert install.fitted("no Ray; pip install 'detpress[ray,s3]', or") == 'no Ray; pip install -e ".[ray,s3]", or'
    monkeypatch.chdir(tmp_path)
    assert install.fitted(LINE) == f'pip install -e "{ROOT}[openvino]"'


@pytest.mark.usefixtures("activated")
def test_from_a_wheel_the_line_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "checkout", lambda: None)
    assert install.fitted(LINE) == LINE


def test_without_an_activated_environment_this_python_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "checkout", lambda: None)
    other = tmp_path / "pip"
    other.write_text("#!/bin/sh\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install.fitted(LINE) == f'{sys.executable} -m pip install "detpress[openvino]"'
    assert install.fitted("nothing to install") == "nothing to install"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert install.fitted(LINE) == LINE
    assert os.environ["PATH"] == str(tmp_path)


@pytest.mark.usefixtures("activated")
def test_errors_name_the_line_that_works(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    assert tell(UnavailableError(f"no OpenVINO here; {LINE}"), debug=False) == 2
    assert capsys.readouterr().err == 'error: no OpenVINO here; pip install -e ".[openvino]"\n'
