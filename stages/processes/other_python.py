"""Start a program of this project on another Python than the one that runs it: the workers' (``run.paddle_python``).

The other one finds its own packages where it always does, and of this project the package ``stages`` alone, from where
this file lies. The folder that holds ``stages`` may be full of packages for our Python (``site-packages``), so it does
not go on the other one's path. Requests and answers are JSON (`pipes`), and files carry no version of Python.

This module imports nothing that the interpreter has not loaded anyway.
"""

from __future__ import annotations

import os
import sys

_ROOT = __file__.rsplit(os.sep, 3)[0]
_START = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]
import importlib.util, os, runpy
root, module = sys.argv[1:3]
file = os.path.join(root, "stages", "__init__.py")
spec = importlib.util.spec_from_file_location("stages", file, submodule_search_locations=[os.path.dirname(file)])
sys.modules["stages"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["stages"])
del sys.argv[:2]
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
"""Runs a module of ``stages`` as a program; begins without the current folder, where anything may lie."""


def command(python: str, module: str, *arguments: str) -> list[str]:
    """What starts ``module``, one of ``stages``, on the interpreter ``python``."""
    return [python, "-c", _START, _ROOT, module, *arguments]


def is_lent() -> bool:
    """Whether this process was started so: its path does not lead to ``stages``."""
    return os.path.realpath(_ROOT) not in map(os.path.realpath, sys.path)
