"""A further process that runs an engine on labelled images: ``python -m stages.accuracy.engine_process``.

Lines of JSON on its standard input: first ``{"engine", "nms"}``, then ``{"pictures": [[path, name], ...]}`` for each
part of the images. It answers ``{"ready": true}`` and ``{"found": [rows, ...]}`` (`stages.accuracy.detections.packed`),
or ``{"error": ...}`` and ends. It also ends when there are no more requests.
"""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from stages.accuracy.detections import Picture, find, packed, unpacked
from stages.artifacts import Engine
from stages.backends.detector import open_detector
from stages.codec import artifact_from_json, to_json
from stages.detection.results import Floats
from stages.errors import ExitCode, StageCrashed
from stages.options.accuracy import NmsOptions
from stages.processes import python
from stages.processes.children import Child
from stages.processes.pipes import (
    claim_stdout,
    die_with_parent,
    error_from_json,
    error_to_json,
    exit_at_once,
    receive,
    send,
)


class EngineProcess:
    """The near end. To be made in the main thread, to be used in one thread."""

    def __init__(self, threads: int) -> None:
        """
        Args:
            threads: of the engine.
        """
        self._process = Child(
            python.command("stages.accuracy.engine_process"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=python.environment(OMP_NUM_THREADS=str(threads)),
            knows=True,
        )

    def open(self, engine: Engine, nms: NmsOptions) -> None:
        """Return when the engine is open there. Raises what opening it raised, or StageCrashed."""
        self._ask({"engine": to_json(engine), "nms": to_json(nms)})

    def detect(self, pictures: Sequence[Picture]) -> list[Floats]:
        """Detections [M, 6] of each image. Raises what `find` raised there, or StageCrashed."""
        return [unpacked(rows) for rows in self._ask({"pictures": pictures})["found"]]

    def end(self) -> None:
        """End it, whatever it is doing; a thread that waits for its answer gets StageCrashed."""
        self._process.end()

    def close(self) -> None:
        """Close its pipes, which nobody uses any more."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what it no longer read
                pipe.close()

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        with suppress(OSError):  # it has died; its last words, or how it ended, are read below
            send(stdin, request)
        for answer in receive(stdout):
            if "error" in answer:
                raise error_from_json(answer["error"])
            return answer
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise StageCrashed(how)


# --- the far end -----------------------------------------------------------------------------------------------


def main() -> int:
    """Open the engine, then answer requests until there are no more."""
    answers = claim_stdout()
    die_with_parent()
    requests = receive(sys.stdin)
    try:
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
    except Exception as error:  # whatever a runtime raises goes to the stage, which tells the user
        traceback.print_exc()
        with suppress(OSError):  # nobody is left who hears it
            send(answers, {"error": error_to_json(error)})
        return ExitCode.STAGE_FAILED
    return ExitCode.DONE


if __name__ == "__main__":
    exit_at_once(main)
