"""An image whose reading never ends, as on a server that does not answer, stops the stage with its name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.contract import StageContext
from stages.data import collect, convert, looking
from stages.errors import DataError
from stages.options.data import CollectOptions
from tests.fakes import FakeContext

PATHS = [Path(str(number)) for number in range(20)]


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a thread waits for that nobody ends; the test does, so that none is left."""
    event = threading.Event()
    yield event
    event.set()


def test_all_are_looked_at_in_their_order() -> None:
    with looking.threads(0) as one, looking.threads(3) as more:
        for pool in (one, more):
            assert list(looking.look_at(lambda path: int(path.name) * 2, PATHS, pool)) == list(range(0, 40, 2))


def test_one_that_takes_too_long_is_named_and_not_waited_for(never: threading.Event) -> None:
    seen: list[str] = []

    def look(path: Path) -> str:
        if path.name == "7":
            never.wait()
        seen.append(path.name)
        return path.name

    with pytest.raises(DataError, match=r"image 7 was not read within 0\.2 s; check that"), looking.threads(1) as pool:
        list(looking.look_at(look, PATHS, pool, 0.2))
    assert seen == [path.name for path in PATHS[:7]]  # the later ones were not begun


def folder_of(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((8, 8, 3), number, np.uint8))
    return folder


@pytest.mark.parametrize("module", [collect, convert])
def test_stages_that_read_the_users_images_first_wait_for_a_bounded_time(
    module: Any, tmp_path: Path, never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, real = folder_of(tmp_path), module.read_bytes
    monkeypatch.setattr(looking, "IMAGE_SECONDS", 0.3)
    monkeypatch.setattr(module, "read_bytes", lambda path: (path.name != "1.png" or never.wait()) and real(path))
    context: StageContext = FakeContext(tmp_path / "stage")
    with pytest.raises(DataError, match=r"1\.png was not read within"):
        if module is collect:
            options = CollectOptions(images=str(folder))
            collect.CollectUnlabeled(options).run(collect.CollectUnlabeled.Inputs(), context)
        else:
            convert._look_at(sorted(folder.iterdir()), context, compare=False)
