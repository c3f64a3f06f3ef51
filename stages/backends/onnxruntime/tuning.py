"""Choose, layer by layer, the faster of ONNX Runtime's two INT8 convolution kernels, by timing both on this CPU.

The choice moves no number: see `stages.lowering.kernels.shift_weights`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx
from onnx import helper

from stages.lowering.graph import Graph
from stages.lowering.kernels import shift_weights

RUNS = 16
"""Timed runs of each variant; a layer's time is the fastest of its kind, so that a busy machine does not decide."""
MARGIN = 0.95
"""The matrix product has to be faster by a twentieth: closer than that it is noise, and a wrong choice costs little."""
ENDING = "_kernel_time"

Profiled = Callable[[Path, Path], Any]
"""(model file, folder for the profile) -> an `onnxruntime.InferenceSession` that writes a profile there."""


def tune(model: onnx.ModelProto, open_profiled: Profiled, scratch: Path) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model with the faster kernel for each convolution, and what was chosen.

    Returns notes ``{"convolutions", "shifted": [names], "before_ms", "after_ms"}``; the times are the sums over the
    convolutions of one run, before and after choosing.
    """
    model = name_convolutions(model)
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    shifted, _ = shift_weights(model, set(convolutions))
    sessions = []
    for name, variant in (("direct", model), ("product", shifted)):
        folder = scratch / name
        folder.mkdir()
        onnx.save(variant, str(folder / "model.onnx"))
        sessions.append(open_profiled(folder / "model.onnx", folder))
    for _ in range(RUNS + 1):  # in turns, so that a change of the machine's speed meets both; the first run warms up
        for session in sessions:
            session.run(None, _ones(session))
    profiles = [Path(session.end_profiling()) for session in sessions]
    direct, product = (pooled(fastest(profile), kinds(profile, model)) for profile in profiles)
    both = [name for name in convolutions if name in direct and name in product]
    chosen = {name for name in both if product[name] < MARGIN * direct[name]}
    tuned, _ = shift_weights(model, chosen)
    return tuned, {
        "convolutions": len(both),
        "shifted": sorted(chosen),
        "before_ms": sum(direct[name] for name in both) / 1e3,
        "after_ms": sum(product[name] if name in chosen else direct[name] for name in both) / 1e3,
    }


def name_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy in which each convolution has a name of its own, by which it is found again in a profile."""
    graph = Graph(model)
    seen: set[str] = set()
    for conv in graph.of_type("Conv"):
        if not conv.name or conv.name in seen:
            conv.name = graph.fresh(conv.name or "conv")
        seen.add(conv.name)
    return graph.finish()


def fastest(profile: Path) -> dict[str, float]:
    """Microseconds of each QLinearConv's fastest run, by the name of the convolution it was fused from."""
    times: dict[str, float] = {}
    for name, event in _kernels(profile):
        times[name] = min(times.get(name, float("inf")), float(event["dur"]))
    return times


def kinds(profile: Path, model: onnx.ModelProto) -> dict[str, str]:
    """What decides the time of each convolution, by its name: shapes of weights and activations, strides."""
    graph = Graph(model)
    weights = {}
    for conv in graph.of_type("Conv"):
        back = graph.producer(conv.input[1])
        # Of a convolution in float the weights may come from a Constant, which reads nothing.
        weight = None if back is None or not back.input else graph.constant(back.input[0])
        plain = sorted((a.name, helper.get_attribute_value(a)) for a in conv.attribute)
        weights[conv.name] = f"{None if weight is None else weight.shape} {plain}"
    found = {}
    for name, event in _kernels(profile):
        found[name] = f"{weights.get(name)} {event['args'].get('output_type_shape')}"
    return found


def pooled(times: dict[str, float], kind: dict[str, str]) -> dict[str, float]:
    """Each convolution's time as that of the fastest of its kind: a busy machine does not disturb all of them."""
    best: dict[str, float] = {}
    for name, time in times.items():
        best[kind[name]] = min(best.get(kind[name], float("inf")), time)
    return {name: best[kind[name]] for name in times}


def _kernels(profile: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The runs of QLinearConv in a profile, each with the name of the convolution it was fused from."""
    for event in json.loads(profile.read_text()):
        if event.get("args", {}).get("op_name") == "QLinearConv" and event["name"].endswith(ENDING):
            # Fusing appends "_token_<n>" to make the name unique.
            yield re.sub(r"(_token_\d+)+$", "", event["name"].removesuffix(ENDING)), event


def _ones(session: Any) -> dict[str, Any]:
    import numpy as np

    return {value.name: np.ones(value.shape, np.float32) for value in session.get_inputs()}
