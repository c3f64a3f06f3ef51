"""What is made once for all tests of a session, and shared by the workers of pytest-xdist."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.artifacts import Artifact, ExportedModel, ImageList
from stages.codec import artifact_from_json, to_json
from stages.distillation.distill import DistillInputs
from stages.export.export import ExportInputs
from stages.options.export import ExportOptions
from tests.stages import detectors
from tests.stages.workers import Worker


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], Artifact]) -> Artifact:
    """The artifact that ``make`` makes in a folder of its own; whoever of the workers comes first makes it."""
    root = factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, made = root / f"once-{name}", root / f"once-{name}.json"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            folder.mkdir()
            made.write_text(json.dumps(to_json(make(folder))))
    return artifact_from_json(json.loads(made.read_text()))


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> ImageList:
    """Six pictures of coloured rectangles."""
    made = once(tmp_path_factory, "pictures", detectors.images)
    assert isinstance(made, ImageList)
    return made


@pytest.fixture(scope="session")
def forms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small detector in every form that users bring; see ``probe_forms``."""
    made = once(tmp_path_factory, "forms", lambda folder: detectors.checkpoint(detectors.make_forms(folder)))
    return made.root.parent


@pytest.fixture(scope="session")
def fp32(forms: Path, pictures: ImageList, tmp_path_factory: pytest.TempPathFactory) -> DistillInputs:
    """The small detector, exported as the product does it, and images to distil it on. Tests leave it as it is."""
    inputs = ExportInputs(model=detectors.checkpoint(forms), images=pictures)

    def export(folder: Path) -> Artifact:
        made: Artifact = Worker(folder, "export", ExportOptions(model=detectors.model()), inputs).done()
        return made

    exported = once(tmp_path_factory, "fp32", export)
    assert isinstance(exported, ExportedModel)
    return DistillInputs(model=exported, images=pictures)
