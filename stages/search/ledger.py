"""What a search has done so far: its steps, and the file that keeps them.

Each finished step is written to ``path.json`` in the stage's work folder. A search that was interrupted takes it from
there with the time that it took, so that it goes the same way.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stages.contract import StageContext
from stages.outside.files import put_text
from stages.search.judgement import Judgement

RANGES, CORRECT, DISTILL, RANK, FLOAT = "ranges", "correct", "distill", "rank", "float"
PATH = "path.json"


@dataclass(frozen=True)
class Step:
    """One thing to try; ``name`` tells it from all others of a search."""

    kind: str
    algorithm: str
    """Of the activation ranges that it starts from."""
    steps: int = 0
    base: str = ""  # the step that a ranking is of and blocks are put to float in
    blocks: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()
    """The options of ``ptq`` that are set."""

    @property
    def name(self) -> str:
        if self.kind in (RANGES, CORRECT):
            return " + ".join([f"ranges {self.algorithm}", *self.corrections])
        if self.kind == DISTILL:
            return f"distillation {self.steps} from {self.algorithm}"
        return f"rank {self.base}" if self.kind == RANK else f"float {','.join(self.blocks)} in {self.base}"


@dataclass(frozen=True)
class Tried:
    """A step that was done. Of a ranking ``found`` has the blocks, of what failed ``failed`` the reason."""

    step: Step
    seconds: float
    judgement: Judgement | None = None
    found: tuple[str, ...] = ()
    failed: str = ""


@dataclass
class Ledger:
    """What was done so far, on disk."""

    file: Path
    tried: list[Tried] = field(default_factory=list)

    @classmethod
    def restored(cls, folder: Path, context: StageContext) -> Ledger:
        """With what an interrupted search has left; empty, with a warning, where that cannot be read."""
        ledger = cls(folder / PATH)
        if ledger.file.is_file():
            try:
                ledger.tried = [_read(one) for one in json.loads(ledger.file.read_text(encoding="utf-8"))]
            except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
                context.warn(f"the path of the interrupted search cannot be used ({error}); it begins again")
                return ledger
            context.info(f"continues behind {len(ledger.tried)} finished steps of an interrupted search")
        return ledger

    def add(self, tried: Tried) -> None:
        self.tried.append(tried)
        put_text(self.file, json.dumps([asdict(one) for one in self.tried]))

    def find(self, name: str) -> Tried | None:
        return next((one for one in self.tried if one.step.name == name), None)

    @property
    def seconds(self) -> float:
        """What all of it took, before and after an interruption."""
        return sum(one.seconds for one in self.tried)


def _read(one: dict[str, Any]) -> Tried:
    lists = {name: tuple(one["step"][name]) for name in ("blocks", "corrections")}
    step = Step(**{**one["step"], **lists})
    judgement = Judgement(**one["judgement"]) if one["judgement"] else None
    return Tried(step, float(one["seconds"]), judgement, tuple(one["found"]), one["failed"])
