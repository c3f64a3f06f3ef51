"""A further process that runs an engine on labelled images: ``python -m stages.accuracy.engine_process``.

Lines of JSON on its standard input: first ``{"engine", "nms"}``, then ``{"pictures": [[path, name], ...]}`` for each
part of the images. It answers ``{"ready": true}`` and ``{"found": [rows, ...]}`` (`stages.accuracy.detections.packed`),
or ``{"error": ...}`` and ends. It also ends when there are no more requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO

from stages.accuracy.detections import Picture, find, packed, unpacked
from stages.artifacts import Engine
from stages.backends.detector import open_detector
from stages.codec import artifact_from_json, to_json
from stages.detection.results import Floats
from stages.options.accuracy import NmsOptions
from stages.processes.dialogue import Dialogue, Requests, answering
from stages.processes.pipes import exit_at_once, send


class EngineProcess(Dialogue):
    """The near end."""

    def __init__(self, threads: int) -> None:
        """
        Args:
            threads: of the engine.
        """
        super().__init__("stages.accuracy.engine_process", threads=threads)

    def open(self, engine: Engine, nms: NmsOptions) -> None:
        """Return when the engine is open there. Raises what opening it raised, or StageCrashed."""
        self.ask({"engine": to_json(engine), "nms": to_json(nms)})

    def detect(self, pictures: Sequence[Picture]) -> list[Floats]:
        """Detections [M, 6] of each image. Raises what `find` raised there, or StageCrashed."""
        return [unpacked(rows) for rows in self.ask({"pictures": pictures})["found"]]


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Open the engine, then answer requests until there are no more."""
    return answering(_serve, logged=True)


def _serve(requests: Requests, answers: IO[str]) -> None:
    import cv2

    setup = next(requests)
    engine = artifact_from_json(setup["engine"])
    assert isinstance(engine, Engine)
    cv2.setNumThreads(1)  # the other cores have engines of their own
    with open_detector(engine, NmsOptions(**setup["nms"])) as detector:
        send(answers, {"ready": True})
        for request in requests:
            pictures = [Picture(*entry) for entry in request["pictures"]]
            send(answers, {"found": [packed(rows) for rows in find(detector, pictures)]})


if __name__ == "__main__":
    exit_at_once(main)
