"""Pictures of what commands print on a terminal of 80 columns, in colour.

``python -m tests.benchmarks.terminal_pictures docs/images/NAME.png WORD...`` runs ``detpress WORD...`` in the current
folder, on a pseudo terminal, and draws what it printed.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import textwrap
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tests import browser
from tests.conftest import ROOT

COLUMNS, ROWS = 80, 50


def printed(words: Sequence[str], folder: Path) -> str:
    """What ``detpress WORD...`` prints on such a terminal, escape sequences included; its exit code does not count."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR", "CI"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pipelines.cli", *words]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    process.wait()
    return said.decode(errors="replace").replace("\r\n", "\n")


def screen(said: str) -> str:
    """What is left on the terminal: a progress bar goes up and erases itself when it is done."""
    lines = [""]
    for part in re.split(r"(\n|\r|\x1b\[\d*A|\x1b\[\d*K|\x1b\[\?\d+[hl])", said):
        if part == "\n":
            lines.append("")
        elif re.fullmatch(r"\x1b\[\d*A", part):
            del lines[max(1, len(lines) - int(part[2:-1] or 1)) :]
        elif part == "\r" or part.endswith("K"):
            lines[-1] = ""
        elif not part.startswith("\x1b[?"):
            lines[-1] += part
    return "\n".join(lines)


def widest(said: str) -> int:
    """Columns of the widest line."""
    return max((Text.from_ansi(line).cell_len for line in said.splitlines()), default=0)


def picture(said: str, title: str, path: Path) -> Path:
    """Draw it; the window is as high as the text."""
    if (reason := browser.missing()) is not None:
        raise SystemExit(f"no picture: {reason}")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True, color_system="truecolor")
        console.print(Text.from_ansi(said.rstrip()))
        svg = console.export_svg(title=title, font_aspect_ratio=0.61)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, browser.page(1100, 800) as (page, _):
        page_file = Path(name) / "terminal.html"
        page_file.write_text(f"<body style='margin:0'><div style='width:860px'>{local(svg)}</div>", encoding="utf-8")
        page.goto(page_file.as_uri())
        page.locator("svg").first.screenshot(path=path)
    return path


def local(svg: str) -> str:
    """The drawing without the fonts that it would fetch."""
    begin, end = svg.find("@font-face"), svg.rfind("@font-face")
    if begin < 0:
        return svg
    return svg[:begin] + svg[svg.index("}", end) + 1 :]


def main() -> None:
    """One picture, as the command line says."""
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    path, words = Path(sys.argv[1]), sys.argv[2:]
    said = screen(printed(words, Path.cwd())).replace(str(Path.cwd()), "~/work")  # no picture tells of a machine
    print(
        picture(said, textwrap.shorten(f"detpress {' '.join(words)}", 70, placeholder=" ..."), path),
        f"({widest(said)} columns)",
    )


if __name__ == "__main__":
    main()
