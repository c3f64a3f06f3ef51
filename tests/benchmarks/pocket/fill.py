"""Weights of a graph that travels without them: drawn from a seed, the same bytes on every machine.

Needs Python, numpy and onnx. Only what numpy's PCG64 gives raw is used (its stream does not change with numpy's
version), and additions, products and roundings of single numbers, which IEEE 754 fixes.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx

ROOT_OF_THREE = 1.7320508075688772  # a uniform number within +-sqrt(3) has a variance of one


def draw(seed: str, entry: dict[str, Any]) -> np.ndarray:
    """A tensor of the shape, type, mean and deviation that ``entry`` gives; ``of``, if it is there, is what draws it.

    Integers are rounded and stay within ``low`` and ``high``.
    """
    number = int(hashlib.sha256(f"{seed}:{entry.get('of', entry['name'])}".encode()).hexdigest()[:16], 16)
    count = int(np.prod(entry["shape"], dtype=np.int64))
    raw = np.random.PCG64(number).random_raw(count) >> np.uint64(40)  # 24 bits
    unit = raw.astype(np.float64) / 2.0**23 - 1.0
    values = unit * (entry["deviation"] * ROOT_OF_THREE) + entry["mean"]
    dtype = np.dtype(entry["dtype"]).newbyteorder("<")
    if dtype.kind in "iu":
        values = np.clip(np.rint(values), entry["low"], entry["high"])
    return values.astype(dtype).reshape(entry["shape"])


def digest(values: np.ndarray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()


def fill(model: onnx.ModelProto, entries: list[dict[str, Any]], seed: str) -> None:
    """Give each tensor of ``entries`` its values.

    Raises:
        ValueError: a tensor is missing, or what was drawn is not what the manifest says.
    """
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    for entry in entries:
        values = draw(seed, entry)
        if entry["name"] not in held:
            raise ValueError(f"the graph has no tensor {entry['name']!r}; pack it again")
        if digest(values) != entry["sha256"]:
            raise ValueError(f"{entry['name']}: drawn otherwise than the manifest says; pack it again")
        held[entry["name"]].raw_data = values.tobytes()


def load(folder: Path, graph: str) -> onnx.ModelProto:
    """A graph of the manifest in ``folder``, filled."""
    manifest = json.loads((folder / "graphs.json").read_text())
    model = onnx.load(str(folder / manifest["graphs"][graph]["file"]))
    fill(model, manifest["graphs"][graph]["tensors"], manifest["seed"])
    return model
