"""The installation says that it still works, and ends as pip did."""

from __future__ import annotations

import io
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from requirements import heartbeat
from tests.conftest import ROOT

SLOW = "import pathlib, sys, time; pathlib.Path(sys.argv[1], 'package').write_bytes(b'x' * 3_000_000); time.sleep(1.5)"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_says_how_long_and_how_much(tmp_path: Path) -> None:
    out = io.StringIO()
    assert heartbeat.watch([sys.executable, "-c", SLOW, str(tmp_path)], tmp_path, out, seconds=0.4) == 0
    lines = out.getvalue().splitlines()
    assert lines and all(re.fullmatch(r"  still installing: \d+ s, \d+ MB so far", line) for line in lines)
    assert lines[-1].endswith(" 3 MB so far")


def test_a_terminal_keeps_one_line_and_none_at_the_end(tmp_path: Path) -> None:
    out = Terminal()
    assert heartbeat.watch([sys.executable, "-c", SLOW, str(tmp_path)], tmp_path, out, seconds=0.4) == 0
    assert "\n" not in out.getvalue() and out.getvalue().endswith("\r\x1b[2K")


def test_it_ends_as_the_command_did(tmp_path: Path) -> None:
    out = io.StringIO()
    assert heartbeat.watch([sys.executable, "-c", "raise SystemExit(7)"], tmp_path, out) == 7
    killed = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    assert heartbeat.watch([sys.executable, "-c", killed], tmp_path, out) == 128 + signal.SIGKILL
    assert out.getvalue() == ""  # it was quick


@pytest.mark.parametrize(("seconds", "said"), [(9.7, "9 s"), (59, "59 s"), (65, "1 min 05 s"), (600, "10 min 00 s")])
def test_seconds_in_words(seconds: float, said: str) -> None:
    assert f": {said}, 812 MB" in heartbeat.line(seconds, 812_300_000)


def test_what_vanishes_or_leads_elsewhere_counts_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "file").write_bytes(b"12345")
    (tmp_path / "elsewhere").symlink_to(ROOT)
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    links = sum(os.lstat(tmp_path / name).st_size for name in ("elsewhere", "broken"))
    assert heartbeat.size_of(tmp_path) == 5 + links
    assert heartbeat.size_of(tmp_path / "not there") == 0


def test_without_a_command_it_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert heartbeat.main(["folder"]) == 2 and "requirements/heartbeat.py" in capsys.readouterr().err


def test_the_makefile_installs_with_it() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^\t@\$\(BEAT\) \$\(PIP\) .*-r \$\(LOCK_FILE\)$", makefile, re.MULTILINE)
