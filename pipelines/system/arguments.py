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
