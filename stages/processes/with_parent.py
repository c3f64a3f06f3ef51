"""Run a program that knows nothing of this project so that it dies with its parent:
``python -m stages.processes.with_parent MODULE ARGUMENTS``.
"""

from __future__ import annotations

import runpy
import sys

from stages.processes.pipes import die_with_parent


def main() -> None:
    """Be ``MODULE`` from now on."""
    die_with_parent()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
