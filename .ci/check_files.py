"""What must hold of every text file: `python .ci/check_files.py FILE ...`, or without arguments for all tracked files.

It ends with one newline, has no blanks at the ends of its lines and no mark of an unfinished merge, is UTF-8, and can
be read if it is YAML or JSON. It names nobody's home folder. No file is larger than 10 MB. Each problem is one line;
with any, the exit code is 1.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

LARGEST = 10 * 1000 * 1000
UNFINISHED = (b"<<<<<<< ", b">>>>>>> ")
HOME = re.compile(rb"(?<![\w.])/(?:root|home/\w+|Users/\w+)/")


def problems(path: Path) -> Iterator[str]:
    """Each problem of a file, with its line where there is one."""
    data = path.read_bytes()
    if len(data) > LARGEST:
        yield f"{path}: {len(data)} bytes, more than {LARGEST}"
    if not data or b"\0" in data[:8192]:  # empty or binary
        return
    if not data.endswith(b"\n") or data.endswith(b"\n\n"):
        yield f"{path}: must end with one newline"
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line != line.rstrip():
            yield f"{path}:{number}: blanks at the end of the line"
        if line.startswith(UNFINISHED):
            yield f"{path}:{number}: an unfinished merge"
        if HOME.search(line):
            yield f"{path}:{number}: a path in somebody's home folder"
    try:
        yield from unreadable(path, data.decode())
    except UnicodeDecodeError as error:
        yield f"{path}: not UTF-8 ({error.reason} at byte {error.start})"


def unreadable(path: Path, text: str) -> Iterator[str]:
    """Why a YAML or JSON file cannot be read."""
    try:
        if path.suffix in (".yaml", ".yml"):
            list(yaml.safe_load_all(text))
        elif path.suffix == ".json":
            json.loads(text)
    except (yaml.YAMLError, ValueError) as error:
        yield f"{path}: {' '.join(str(error).split())}"


def tracked() -> list[Path]:
    """The files that git knows, from the folder it is called in."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, check=True).stdout
    return [Path(name) for name in listed.split("\0") if name]


def main(names: list[str]) -> int:
    """Check the named files, or all tracked ones."""
    found = [problem for path in (map(Path, names) if names else tracked()) for problem in problems(path)]
    for problem in found:
        print(problem)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
