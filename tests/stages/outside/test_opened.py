"""Whatever a reader of the users' files is given in the place of one, it says so in one line and waits for nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import sha256_of
from stages.data.formats import source, voc_xml
from stages.data.weights import read_pdparams
from stages.detection import coco, images
from stages.detection.sidecar import Sidecar
from stages.errors import DetpressError
from stages.outside import records
from stages.programs import nms, parameters, pir

READERS: dict[str, Callable[[Path], Any]] = {
    "labels": coco.read_coco,
    "class names": coco.read_labels,
    "an image": images.read_image,
    "a label file": source.read_text,
    "a checkpoint": read_pdparams,
    "the settings of a model": Sidecar.read,
    "a program": pir.read_program,
    "an older program": nms.stated_nms,
    "parameters": parameters.read_parameters,
    "a record": records.read,
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_is_refused_in_one_line(read: Callable[[Path], Any], kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.json" if kind == "pipe" else Path("/dev/zero")
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(DetpressError, match=rf"{path}.*it is a {kind}, no regular file") as refused:
        read(path)
    assert "\n" not in str(refused.value) and refused.value.exit_code == 2


@pytest.mark.parametrize("read", [sha256_of, voc_xml.object_lines])
def test_those_whose_callers_tell_raise_an_oserror(read: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        read(tmp_path / "pipe")
