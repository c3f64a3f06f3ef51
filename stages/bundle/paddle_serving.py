"""The folder ``paddle_serving/`` of a bundle: the model of ``paddle/`` as Paddle Serving's server and client take it.

::

    paddle_serving/serving_server/model.pdmodel, model.pdiparams, serving_server_conf.prototxt
    paddle_serving/serving_client/serving_client_conf.prototxt

Both have the same content, a ``GeneralModelConfig`` of Serving's ``general_model_config.proto``: as text, and beside it
in protobuf's own form (``.stream.prototxt``), as Serving's converter leaves them. Shapes are those of one image.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.artifacts import Engine
from stages.bundle.paddle_form import INPUTS, PARAMETERS, PROGRAM
from stages.programs import wire
from stages.programs.nms_ending import COUNTS, FOUND

SERVER, CLIENT = "serving_server", "serving_client"
_FLOAT32, _INT32 = 1, 2
"""Serving's own numbers of types."""
_FEED, _FETCH = 2, 3  # fields of GeneralModelConfig


@dataclass(frozen=True)
class Variable:
    """An input or output; ``rows`` (``is_lod_tensor``): as many as there happen to be."""

    name: str
    dtype: int
    shape: Sequence[int]
    rows: bool = False


def variables(engine: Engine) -> tuple[list[Variable], list[Variable]]:
    """What the program of ``paddle/`` takes and gives, see `stages/bundle/paddle_form.py`."""
    image, scale = INPUTS
    feeds = [Variable(image, _FLOAT32, [3, *engine.input_size]), Variable(scale, _FLOAT32, [2])]
    return feeds, [Variable(FOUND, _FLOAT32, [-1], rows=True), Variable(COUNTS, _INT32, [-1], rows=True)]


def write(engine: Engine, paddle: Path, folder: Path) -> None:
    """Write the folder; ``paddle`` is the bundle's folder with NMS in the program."""
    feeds, fetches = variables(engine)
    for side in (SERVER, CLIENT):
        (folder / side).mkdir(parents=True)
        (folder / side / f"{side}_conf.prototxt").write_text(as_text(feeds, fetches), encoding="utf-8")
        (folder / side / f"{side}_conf.stream.prototxt").write_bytes(as_bytes(feeds, fetches))
    for name in (PROGRAM, PARAMETERS):
        shutil.copyfile(paddle / name, folder / SERVER / name)


def as_text(feeds: Sequence[Variable], fetches: Sequence[Variable]) -> str:
    """The configuration in protobuf's text form."""
    return "".join(_text("feed", v) for v in feeds) + "".join(_text("fetch", v) for v in fetches)


def _text(kind: str, variable: Variable) -> str:
    name = json.dumps(variable.name)
    lines = [
        f"{kind}_var {{",
        f"  name: {name}",
        f"  alias_name: {name}",
        f"  is_lod_tensor: {'true' if variable.rows else 'false'}",
        f"  {kind}_type: {variable.dtype}",
        *(f"  shape: {side}" for side in variable.shape),
        "}",
    ]
    return "\n".join(lines) + "\n"


def as_bytes(feeds: Sequence[Variable], fetches: Sequence[Variable]) -> bytes:
    """The configuration in protobuf's binary form."""
    kinds = [(_FEED, variable) for variable in feeds] + [(_FETCH, variable) for variable in fetches]
    return b"".join(wire.field(kind, _message(variable)) for kind, variable in kinds)


def _message(variable: Variable) -> bytes:
    name = variable.name.encode()
    fields: list[tuple[int, int | bytes]] = [(1, name), (2, name), (3, int(variable.rows)), (4, variable.dtype)]
    fields += [(5, side) for side in variable.shape]
    return b"".join(wire.field(number, value) for number, value in fields)
