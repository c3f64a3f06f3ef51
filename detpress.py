"""``import detpress`` (the functions of `pipelines.api`), and how a process of this project starts: the console script,
and every Python process that another one starts.

The packages ``conf``, ``pipelines`` and ``stages`` come from beside this file, all else from what is installed. Others'
modules on PYTHONPATH or in the current folder are not found: results are stored under the versions of the installed
packages, so no other code may make them. This file has to run while such modules are on the path still, so it imports
nothing that the interpreter has not loaded by then.
"""

import os
import sys

ROOT = __file__.rsplit(os.sep, 1)[0]
_PACKAGES = ("stages", "pipelines", "conf")
TYPE_CHECKING = False  # the name is enough for type checkers; `typing` is not to be loaded here
if TYPE_CHECKING:
    from types import ModuleType

    from pipelines.api import *  # noqa: F403


def __getattr__(name: str) -> object:
    """The names of `pipelines.api`, which is loaded when the first of them is asked for."""
    if name.startswith("__") and name != "__all__":
        raise AttributeError(f"module 'detpress' has no attribute {name!r}")
    return getattr(_api(), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_api().__all__})


def _api() -> "ModuleType":
    """The module, from beside this file also where the caller has folders or modules of the same names."""
    sys.path.insert(0, ROOT)
    try:
        for name in _PACKAGES:
            found = getattr(__import__(name), "__file__", None) or ""
            if os.path.realpath(found) != os.path.realpath(f"{ROOT}{os.sep}{name}{os.sep}__init__.py"):
                raise ImportError(
                    f"detpress needs its own package {name!r}, but {found or 'another'} is loaded under that name: "
                    "import detpress first and use one of its functions, or rename yours"
                )
        __import__("pipelines.api")
    finally:
        sys.path.remove(ROOT)
    return sys.modules["pipelines.api"]


def main(first: str = sys.path[0]) -> int:
    """The console script ``detpress``; started anew first where PYTHONPATH or the folder may bring foreign modules.

    Args:
        first: the first folder of the path as the interpreter set it.
    """
    _open_streams()
    _own_packages_first()
    from stages.processes import python

    if python.is_exposed(first):
        python.replace_process("pipelines.cli", sys.argv[1:])
    from pipelines import cli

    return cli.main()


def start() -> None:
    """``python detpress.py MODULE ARGUMENTS``: as ``python -m MODULE ARGUMENTS``, see `stages.processes.python`."""
    sys.modules["detpress"] = sys.modules[__name__]
    _own_packages_first()
    import runpy

    from stages.processes import python

    del sys.argv[0]
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except ModuleNotFoundError as error:
        if not (reason := python.explain(error)):
            raise
        sys.stderr.write(f"error: {reason}\n")
        sys.exit(2)


def _open_streams() -> None:
    """Open those of the three standard streams that are closed (``>&-``): else a file of ours would be one of them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _own_packages_first() -> None:
    """Import the packages beside this file, whatever else has their names; the rest of the path keeps its order.

    The folder of a checkout stays on the path, for its tests. Of an installation it is ``site-packages``, which may not
    come before the standard library.
    """
    sys.path.insert(0, ROOT)
    for name in _PACKAGES:
        __import__(name)
    if os.path.realpath(ROOT) in map(os.path.realpath, sys.path[1:]):
        del sys.path[0]


if __name__ == "__main__":
    if __spec__ is not None:  # python -m detpress
        sys.exit(main())
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(ROOT):
        del sys.path[0]  # the folder of the program, where Python puts it
    start()
