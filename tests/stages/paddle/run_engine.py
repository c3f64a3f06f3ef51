"""Runs an engine in a process that may load Paddle: python -m tests.stages.paddle.run_engine ENGINE.json FOLDER"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.artifacts import Engine
from stages.codec import artifact_from_json, to_json
from tests.stages import forks

Array = npt.NDArray[Any]


def run_elsewhere(engine: Engine, feeds: list[dict[str, Array]]) -> list[list[Array]]:
    """The outputs for each of ``feeds``, from one session."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "engine.json").write_text(json.dumps(to_json(engine)))
        for i, each in enumerate(feeds):
            np.savez(folder / f"in{i}.npz", **each)  # type: ignore[arg-type]
        forks.run("tests.stages.paddle.run_engine", str(folder / "engine.json"), scratch)
        found = []
        for i in range(len(feeds)):
            with np.load(folder / f"out{i}.npz") as data:
                found.append([data[f"arr_{number}"] for number in range(len(data))])
        return found


def main(engine_file: Path, folder: Path) -> None:
    from stages import backends

    engine = artifact_from_json(json.loads(engine_file.read_text()))
    assert isinstance(engine, Engine)
    with backends.get(engine.backend).open(engine) as session:
        found = []
        for i in range(len(list(folder.glob("in*.npz")))):
            with np.load(folder / f"in{i}.npz") as data:
                found.append(session.infer(dict(data)))
    for i, outputs in enumerate(found):
        np.savez(folder / f"out{i}.npz", *outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
