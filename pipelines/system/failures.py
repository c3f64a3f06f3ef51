"""How an error is told: one clear message on standard error and an exit code; the traceback only on request."""

from __future__ import annotations

import sys
import traceback

from rich.console import Console
from rich.text import Text

from stages.errors import DetpressError, ExitCode
from stages.outside.text import told


def tell(error: BaseException, *, debug: bool) -> int:
    """Print ``error`` for the user and return the exit code that belongs to it."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, DetpressError):
        if debug and error.trace:
            print(f"In the process of the stage:\n{error.trace}", end="", file=sys.stderr)
        _print("error", str(error))
        return error.exit_code
    hint = "" if debug else "; run it again with --debug for the traceback, and report it if the input is right"
    first = (str(error).strip() or "no message").splitlines()[0]
    _print("unexpected error", f"{type(error).__name__}: {first}{hint}")
    return ExitCode.STAGE_FAILED


def _print(head: str, message: str) -> None:
    console = Console(stderr=True, highlight=False)
    console.print(Text.assemble((f"{head}: ", "bold red"), told(message)), soft_wrap=True)
