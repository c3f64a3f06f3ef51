"""How an error is told: one clear message on standard error and an exit code; the traceback only on request."""

from __future__ import annotations

import errno
import sys
import traceback

from pipelines.system.install import fitted
from stages.errors import DetpressError, ExitCode, InputError, UnavailableError
from stages.outside.files import NoRegularFile
from stages.outside.text import line
from stages.processes import python


def code_of(error: BaseException) -> int:
    """The exit code that belongs to ``error``."""
    if _impossible(error) or isinstance(error, NoRegularFile):
        return ExitCode.WRONG_INPUT
    return error.exit_code if isinstance(error, DetpressError) else ExitCode.STAGE_FAILED


def _impossible(error: BaseException) -> bool:
    """Whether a name was asked for that no file can have: it came with the input, whichever code met it."""
    return isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG


def tell(error: BaseException, *, debug: bool) -> int:
    """Print ``error`` for the user and return the exit code that belongs to it."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, DetpressError):
        if debug and error.trace:
            print(f"In the process of the stage:\n{error.trace}", end="", file=sys.stderr)
        _print("error", shown(error))
        return code_of(error)
    if (known := explained(error)) is not None:
        _print("error", line(known.message))
        return known.exit_code
    hint = "" if debug else "; run it again with --debug for the traceback, and report it if the input is right"
    first = (str(error).strip() or "no message").splitlines()[0]
    _print("unexpected error", f"{type(error).__name__}: {line(first)}{hint}")
    return code_of(error)


def explained(error: BaseException) -> DetpressError | None:
    """An error of the project for one of Python's whose cause is known to be what was given or installed."""
    if isinstance(error, ModuleNotFoundError) and (reason := python.explain(error)):
        return UnavailableError(reason)
    if _impossible(error):
        length = len(str(getattr(error, "filename", "")))
        return InputError(
            f"a path of {length} characters is too long for a file; check the paths and names that were given"
        )
    if isinstance(error, NoRegularFile):
        return InputError(f"{error.filename} cannot be used ({error.strerror}); remove it, or name another file")
    return None


def worded(error: DetpressError) -> DetpressError:
    """The same object with the words that a terminal would get (see `shown`), for whoever catches it."""
    message, *details = shown(error).split("\n")
    error.args, error.details = (message,), tuple(details)
    return error


def shown(error: BaseException) -> str:
    """An error for a terminal, whatever texts of others are in it: its message on one line, the details under it."""
    lines = [str(error)]
    if isinstance(error, DetpressError):
        lines = [error.message, *(text if text.startswith("  ") else f"  {text}" for text in error.details)]
    return "\n".join(map(line, map(fitted, lines)))


def _print(head: str, message: str) -> None:
    from rich.console import Console
    from rich.text import Text  # loaded only where something went wrong: `detpress completion` is to be quick

    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble((f"{head}: ", "bold red"), message), soft_wrap=True)
