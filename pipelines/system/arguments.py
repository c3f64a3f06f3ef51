"""The parser of a command line: argparse, and what it says of a wrong word stays on one line."""

from __future__ import annotations

import argparse
from typing import NoReturn

from stages.outside.text import line


class Parser(argparse.ArgumentParser):
    """What every command's arguments are parsed by."""

    def error(self, message: str) -> NoReturn:
        """End with ``WRONG_INPUT``, after the usage and one line."""
        super().error(line(message))


def share(text: str) -> float:
    """A number from 0 to 1, as the type of an argument. Raises ArgumentTypeError for any other."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:  # not a number is neither
        raise argparse.ArgumentTypeError(f"{text!r} does not fit; it is a number from 0 to 1")
    return value
