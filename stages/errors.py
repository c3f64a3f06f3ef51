"""Every error a stage raises on purpose, and the exit codes that commands end with.

::

    DetpressError                 something the user can act on; shown as one line
    ├── InputError                the user's input is wrong                        WRONG_INPUT
    │   ├── ConfigError           the config: every problem at once
    │   ├── DataError             images or labels
    │   └── WeightsError          a checkpoint or an inference model
    ├── UnavailableError          this machine cannot run what was asked for       WRONG_INPUT
    ├── StageError                a stage failed while working                     STAGE_FAILED
    │   ├── StageCrashed          its process died (signal, out of memory)
    │   └── AgreementError        two forms of one model disagree beyond the bound
    └── StoreError                the result store cannot be read or written       STAGE_FAILED

A message says what is wrong, names the file or the key, and ends with what to do next.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. Schedulers decide by it (table in ``docs/orchestration.md``), so a value never changes."""

    DONE = 0
    WRONG_INPUT = 2
    """Wrong config or input, or this machine cannot run it; argparse ends with 2 too."""
    GATE_FAILED = 3
    """The run is whole, and its result is not good enough."""
    STAGE_FAILED = 4
    """Also an error that nobody foresaw."""
    UNCHANGED = 5
    """There was nothing to do."""
    INTERRUPTED = 130
    """By SIGINT, as a shell has it: 128 + 2."""
    KILLED = 137
    """By SIGKILL: no command ends with it by itself, but the record of a killed one has it."""
    TERMINATED = 143
    """By SIGTERM."""

    def __str__(self) -> str:
        return str(int(self))  # Python 3.10 would write the name


class DetpressError(Exception):
    """Base of the tree: the command line prints it as one line and ends with ``exit_code``.

    ``details`` are the lines that belong under that one, such as the last ones of a log. A message that was made with
    texts of others has no other line breaks than these: where it is printed, one inside of it is not obeyed.
    """

    exit_code: int = ExitCode.STAGE_FAILED
    details: tuple[str, ...] = ()
    trace: str = ""
    """Traceback of the worker process that raised it, for ``--debug``."""

    def __init__(self, message: str = "", details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.details = tuple(details)

    def __str__(self) -> str:
        """The message and its details, a line each."""
        return "\n".join((self.message, *self.details))

    @property
    def message(self) -> str:
        """What is told on one line."""
        return str(self.args[0]) if self.args else ""


class InputError(DetpressError):
    """The user's input is wrong; nothing was computed from it."""

    exit_code = ExitCode.WRONG_INPUT


class ConfigError(InputError):
    """The config is wrong. Carries every problem that was found, not only the first."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        head = "the config has a problem" if count == 1 else f"the config has {count} problems"
        super().__init__(f"{head}:", [f"  - {p}" for p in self.problems])


class DataError(InputError):
    """Images or labels cannot be used as they are."""


class WeightsError(InputError):
    """A checkpoint or an inference model cannot be used as it is."""


class UnavailableError(DetpressError):
    """This machine cannot run what was asked for; the message carries the install line."""

    exit_code = ExitCode.WRONG_INPUT


class StageError(DetpressError):
    """A stage failed while working."""


class StageCrashed(StageError):
    """A stage's process died without a word of its own (a signal, the out-of-memory killer)."""


class AgreementError(StageError):
    """Two forms of one model give different outputs beyond the stated bound."""


class StoreError(DetpressError):
    """The result store cannot be read or written."""
