"""A champion that cannot be measured is found out before a challenger is made, in one line that names it."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from pipelines.registry import champion as module
from pipelines.registry.champion import Champion, require_usable
from pipelines.registry.registry import Version
from stages.bundle.contents import unpack
from stages.errors import InputError
from tests.attack.bundles import graph, record, working


class Named:
    """All that is asked of a registry here."""

    name = "blocks"


def champion(folder: Path, content: bytes) -> Champion:
    (folder / "b.zip").write_bytes(content)
    return Champion(Version("3", "run", "where"), unpack(folder / "b.zip", folder / "bundle"))


def test_one_that_works_is_taken(tmp_path: Path) -> None:
    made = champion(tmp_path, working())
    before = sorted(tmp_path.rglob("*"))
    require_usable(Named(), made)  # type: ignore[arg-type]
    assert sorted(tmp_path.rglob("*")) == before


def of_another_size() -> bytes:
    said = record()
    said["engine"]["input_size"] = [16, 16]
    return working(said=said)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (working(engine={"model.onnx": graph()[:-40]}), "the engine model.onnx cannot be opened ("),
        (
            working(engine={"model.onnx": b"an engine of some other backend"}),
            "the engine model.onnx cannot be opened (",
        ),
        (of_another_size(), "takes images of [16, 16] by bundle.json"),
    ],
    ids=["damaged", "another kind", "another record"],
)
def test_one_that_does_not_is_refused_in_one_line(content: bytes, why: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        require_usable(Named(), champion(tmp_path, content))  # type: ignore[arg-type]
    said = str(caught.value)
    assert said.startswith(f"the champion, blocks version 3, cannot be measured: {tmp_path / 'bundle'}: ")
    assert why in said
    assert "\n" not in said and "make the bundle again" not in said and "fetch it again" not in said
    assert "`detpress rollback` goes back to the one before, `detpress promote VERSION --force`" in said


def test_one_that_ends_its_process_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = champion(tmp_path, working())

    def dies(name: str, *arguments: str, **more: Any) -> list[str]:
        assert name == "stages.bundle.trial" and arguments == (str(made.bundle.root),)
        return ["sh", "-c", f"kill -{int(signal.SIGSEGV)} $$"]

    monkeypatch.setattr(module.python, "command", dies)
    file = made.bundle.root / "engine" / "model.onnx"
    with pytest.raises(InputError, match=rf"the process that runs {file} ends by SIGSEGV; `detpress"):
        require_usable(Named(), made)  # type: ignore[arg-type]
