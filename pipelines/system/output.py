"""Standard output and standard error that may stop taking anything: a reader that left (``| head``), a full disk.

What a command does is not undone by that, so writing raises nothing: what was lost is noted, and told at the end by the
exit code of a command that only shows something (table in ``docs/orchestration.md``).
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from stages.errors import ExitCode
from stages.outside.text import line

VERBOSE = "DETPRESS_VERBOSE"
"""Environment variable that ``--verbose`` sets: what one command starts (a retraining of a schedule, a job of a sweep)
tells as much as the command itself."""
READER_LEFT = 128 + signal.SIGPIPE
"""Exit code, as a shell has it for a program that such a pipe ends."""


def verbose() -> bool:
    """Whether details are to be told too."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


@contextlib.contextmanager
def told_more(asked: bool) -> Iterator[None]:
    """Let `verbose` hold for the length of a ``with``, if that is ``asked``."""
    before = os.environ.get(VERBOSE)
    if asked:
        os.environ[VERBOSE] = "1"
    try:
        yield
    finally:
        if asked:
            os.environ.pop(VERBOSE)
            if before is not None:
                os.environ[VERBOSE] = before


class Kept:
    """What would have been printed: ``out`` for standard output, ``err`` for standard error."""

    def __init__(self, *, tell: bool = False) -> None:
        """
        Args:
            tell: let standard error have its part all the same.
        """
        self.out = io.StringIO()
        self.err = _Told() if tell else io.StringIO()

    def lines(self) -> list[str]:
        """What was for standard error."""
        return self.err.getvalue().splitlines()


class _Told(io.StringIO):
    def write(self, text: str) -> int:
        print(text, end="", file=sys.stderr, flush=True)
        return super().write(text)


_kept: Kept | None = None
"""One for all threads of the process: what tracks a run works in one of its own."""


@contextlib.contextmanager
def unprinted(kept: Kept) -> Iterator[None]:
    """Let ``kept`` have what is printed, for the length of a ``with``: the streams are the calling program's."""
    global _kept
    before, _kept = _kept, kept
    try:
        yield
    finally:
        _kept = before


def out() -> TextIO:
    """Where results are printed."""
    return sys.stdout if _kept is None else _kept.out


def err() -> TextIO:
    """Where everything else is printed."""
    return sys.stderr if _kept is None else _kept.err


class Lossy:
    """A text stream, except that its errors are kept in ``lost``."""

    def __init__(self, stream: TextIO) -> None:
        self.lost: OSError | None = None
        self._stream = stream
        with contextlib.suppress(OSError, ValueError):  # not every stream has a descriptor
            os.set_blocking(stream.fileno(), True)  # else a pipe that is full for a moment is an error

    def write(self, text: str) -> int:
        """Write, unless something was lost before: half of what follows helps nobody."""
        if self.lost is None:
            try:
                return self._stream.write(text)
            except OSError as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        if self.lost is None:
            try:
                self._stream.flush()
            except OSError as error:
                self._lose(error)

    def _lose(self, error: OSError) -> None:
        self.lost = error
        with contextlib.suppress(OSError, ValueError):  # what is buffered still has to go somewhere when Python ends
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def say(text: str) -> None:
    """Print a message on one line of standard error, whatever texts of others are in it. Errors: `failures.tell`."""
    print(line(text), file=err(), flush=True)


@dataclass
class Streams:
    """The streams of a command."""

    out: Lossy | None
    err: Lossy | None

    def exit_code(self, code: int, *, shows: bool) -> int:
        """The exit code of a command that ended with ``code``, after the last of its output.

        Args:
            shows: the command is there for its output alone. Any other has done what it was asked to do.
        """
        for stream in (self.out, self.err):
            if stream is not None:
                stream.flush()
        if self.out is None or (lost := self.out.lost) is None:
            return code
        left = isinstance(lost, BrokenPipeError)
        if not left:
            print(f"standard output cannot be written: {lost.strerror}; what was done is kept", file=sys.stderr)
        if code != ExitCode.DONE or not shows:
            return code
        return READER_LEFT if left else ExitCode.STAGE_FAILED


@contextlib.contextmanager
def lossy() -> Iterator[Streams]:
    """Let the process's streams raise nothing, for the length of a ``with``."""
    before = sys.stdout, sys.stderr
    streams = Streams(*(None if stream is None else Lossy(stream) for stream in before))
    sys.stdout, sys.stderr = streams.out, streams.err  # type: ignore[assignment]
    try:
        yield streams
    finally:
        sys.stdout, sys.stderr = before
