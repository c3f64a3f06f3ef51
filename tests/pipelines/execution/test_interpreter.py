"""What another Python says of itself, and that its packages make the keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.execution.events import NullObserver
from pipelines.execution.interpreter import OWN, Interpreter, ask
from pipelines.execution.node import Node, Ref
from pipelines.execution.plan import survey
from pipelines.execution.runner import Runner, RunnerSettings
from pipelines.store.local import Store
from stages.backends.base import Available, Unavailable
from stages.errors import InputError
from stages.options.data import CollectOptions, ShapesOptions
from tests.pythons import stand_in, starts


def drawing() -> list[Node]:
    """Two stages that need neither Paddle nor a file."""
    draw = Node(id="draw", stage="draw", options=ShapesOptions(train=2, unlabeled=2, val=2, size=[64, 64]))
    labels = CollectOptions(annotations="val.json", images="val")
    return [draw, Node(id="labels", stage="collect_labeled", options=labels, inputs={"drawn": Ref("draw")})]


def test_the_workers_run_there_and_the_results_are_those_of_a_command_there(tmp_path: Path) -> None:
    other = stand_in(tmp_path / "python")
    python = ask(str(other))
    assert python.version == OWN.version and python.version_of("NumPy") == OWN.version_of("numpy")
    before, store = starts(other), Store(tmp_path / "a")
    runner = Runner(store, NullObserver(), RunnerSettings(0, python=python), logs=tmp_path / "logs")
    results = runner.run(drawing())
    assert not results.failures and set(results.artifacts) == {"draw", "labels"}
    assert starts(other) == before + 2
    # The same packages here: nothing is left to do for a command on its own Python.
    assert all(step.cached for step in survey(drawing(), store, 0))


def test_another_version_there_is_another_key(tmp_path: Path) -> None:
    (draw, _) = drawing()
    inputs = draw.resolve({})
    there = Interpreter("/python", {"python": "3.11.2", "packages": {"NumPy": "1.0", "opencv_python_headless": "4.9"}})
    key = draw.key(inputs, 0, there)
    assert key.parts["fingerprint"] == {"numpy": "1.0", "opencv-python-headless": "4.9"}
    nothing = Interpreter("/python", {"python": "3.11.2", "packages": {}})
    assert draw.key(inputs, 0, nothing).parts["fingerprint"]["numpy"] == "not installed"
    assert len({k.digest for k in (key, draw.key(inputs, 0, nothing), draw.key(inputs, 0))}) == 3


def test_backends_are_asked_there(tmp_path: Path) -> None:
    python = ask(str(stand_in(tmp_path / "python")))
    state = python.availability("onnxruntime")
    assert state == OWN.availability("onnxruntime") and isinstance(state, Available)
    assert python.fingerprint("onnxruntime") == OWN.fingerprint("onnxruntime")
    foreign = python.availability("theirs")
    assert isinstance(foreign, Unavailable) and str(tmp_path) in foreign.reason


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        (None, "cannot be started: No such file or directory"),
        ("echo 'pyenv: python3.9: command not found' >&2\necho more >&2\nexit 127", "pyenv: python3.9: command not"),
        ("echo 'it is Python 3.8, and 3.10 or later is needed' >&2\nexit 1", "it is Python 3.8, and 3.10 or later"),
        ("echo hello", "is no Python that can be used: it says nothing"),
    ],
)
def test_what_is_no_python_is_refused_in_one_line(tmp_path: Path, program: str | None, problem: str) -> None:
    path = tmp_path / "python"
    if program is not None:
        path.write_text(f"#!/bin/sh\n{program}\n")
        path.chmod(0o755)
    with pytest.raises(InputError) as raised:
        ask(str(path))
    assert problem in str(raised.value) and str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_what_the_stages_import_has_to_be_there(tmp_path: Path) -> None:
    python = ask(str(stand_in(tmp_path / "python", tmp_path / "site", paddlepaddle="2.6.2")))
    with pytest.raises(InputError, match="cannot run the stages: ModuleNotFoundError: No module named"):
        python.availability("onnxruntime")
