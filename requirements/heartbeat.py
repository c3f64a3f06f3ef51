"""Runs a command and says now and then that it still works, and how large a folder has grown::

    python requirements/heartbeat.py .venv -- python -m pip install ...

pip is silent for minutes while it loads and unpacks large packages, which looks like a hang. Needs nothing but Python,
since it runs before anything is installed. Its exit code is the command's.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

TERMINAL_SECONDS, LOG_SECONDS = 1.0, 30.0
"""Between two lines: on a terminal one line is written over and over, a log would be flooded."""


def size_of(folder: str | Path) -> int:
    """Bytes of the files under a folder, links not followed; what vanishes meanwhile counts for nothing."""
    return sum(_sizes(folder))


def _sizes(folder: str | Path) -> Iterator[int]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path)
            else:
                yield entry.stat(follow_symlinks=False).st_size
        except OSError:
            continue


def line(seconds: float, size: int) -> str:
    """``1 min 05 s, 812 MB``."""
    minutes, rest = divmod(int(seconds), 60)
    spent = f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
    return f"  still installing: {spent}, {size / 1e6:.0f} MB so far"


def watch(command: Sequence[str], folder: str | Path, out: TextIO, seconds: float | None = None) -> int:
    """Run ``command`` to its end, and write to ``out`` every ``seconds``; its exit code, as a shell gives it."""
    terminal = out.isatty()
    every = seconds if seconds is not None else TERMINAL_SECONDS if terminal else LOG_SECONDS
    began = time.monotonic()
    with subprocess.Popen(list(command)) as process:
        while True:
            try:
                code = process.wait(every)
                break
            except subprocess.TimeoutExpired:
                text = line(time.monotonic() - began, size_of(folder))
                out.write(f"\r\x1b[2K{text}" if terminal else f"{text}\n")
                out.flush()
            except KeyboardInterrupt:  # pip got it too, and ends in order
                continue
    if terminal:
        out.write("\r\x1b[2K")
        out.flush()
    return 128 - code if code < 0 else code


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 3 or arguments[1] != "--":
        print(__doc__, file=sys.stderr)
        return 2
    return watch(arguments[2:], arguments[0], sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
