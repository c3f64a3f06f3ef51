"""The part of ``requirements.lock`` that a container image takes (docs/containers.md), hashes included::

    python requirements/part_of_lock.py runtime                          # what verify and predict need
    python requirements/part_of_lock.py full --without ray               # all but what only tests and benchmarks need
    python requirements/part_of_lock.py runtime --with nvidia-ml-py      # and one package more

``runtime.txt`` lists what the first takes, ``development.txt`` what the second leaves out. Neither is resolved here: a
test holds both to what the installed packages declare. Needs nothing but Python, since it runs before anything is
installed. A name that the lock does not have is one line, and exit code 2.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
LOCK = "requirements.lock"
_BEGINNING = re.compile(r"^(?=[A-Za-z0-9])", re.MULTILINE)


def names_in(path: Path) -> list[str]:
    """The names that a list has, one a line; ``#`` begins a comment."""
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def blocks(lock: str) -> list[tuple[str, str]]:
    """(name, its lines) of each pin of a lock; a package has several where its version hangs on Python's."""
    parts = _BEGINNING.split("\n".join(line for line in lock.splitlines() if not line.startswith("#")) + "\n")
    return [(part.partition("==")[0], part) for part in parts if "==" in part]


def part(image: str, lock: str, more: Collection[str] = (), fewer: Collection[str] = ()) -> str:
    """The lines of a lock that an image takes.

    Args:
        image: ``runtime`` or ``full``.
        more, fewer: names that come on top, and that stay away.

    Raises:
        ValueError: a name is not in the lock.
    """
    pins = blocks(lock)
    have = {name for name, _ in pins}
    listed = names_in(HERE / ("runtime.txt" if image == "runtime" else "development.txt"))
    if unknown := sorted({*listed, *more, *fewer} - have):
        raise ValueError(f"{LOCK} has no {', '.join(unknown)}; correct the name, or the list in {HERE.name}/")
    wanted = set(listed) if image == "runtime" else have - set(listed)
    wanted = (wanted - set(fewer)) | set(more)
    return "".join(lines for name, lines in pins if name in wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the part; 2 if a name is wrong."""
    parser = argparse.ArgumentParser(description=f"Print the part of {LOCK} that a container image takes.")
    parser.add_argument("image", choices=("runtime", "full"))
    parser.add_argument("--with", dest="more", action="append", default=[], metavar="NAME", help="this one too")
    parser.add_argument("--without", dest="fewer", action="append", default=[], metavar="NAME", help="not this one")
    options = parser.parse_args(arguments)
    try:
        lines = part(options.image, (HERE.parent / LOCK).read_text(encoding="utf-8"), options.more, options.fewer)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    sys.stdout.write(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
