"""Where the time goes in ONNX Runtime: its own profiler, on a session that is opened for nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.backends.audit import Executed, Product, kernels, name_of
from stages.backends.onnxruntime.session import OPTIMIZED, PlainSession
from stages.backends.profiled import Profiled, ProfiledLayer, convolution, product

ON_A_GPU = "ONNX Runtime's profiler sees when work for a GPU is handed over, not how long the GPU takes"


class ProfilingSession(PlainSession):
    """A session that was made to write its graph and its profile into a folder."""

    def __init__(self, session: Any, outputs: list[str], folder: Path) -> None:
        super().__init__(session, outputs)
        self._folder = folder

    def note(self) -> None:
        """ONNX Runtime writes down every run by itself."""

    def profiled(self) -> Profiled:
        return read_profile(self._folder / OPTIMIZED, Path(self._session.end_profiling()))


def read_profile(optimized: Path, profile: Path) -> Profiled:
    """The layers of all runs of a profile.

    Args:
        optimized: the graph as ONNX Runtime runs it.
        profile: an event for each kernel and run; ``dur`` is in microseconds.
    """
    graph = Executed.read(optimized)
    times: dict[tuple[str, Any], list[float]] = defaultdict(list)
    first: dict[tuple[str, Any], dict[str, Any]] = {}
    for event in sorted(kernels(profile), key=lambda event: event["ts"]):
        key = name_of(event), event["args"].get("node_index")
        first.setdefault(key, event)
        times[key].append(float(event["dur"]) / 1e3)
    layers = []
    for key, event in first.items():
        node, found = graph.nodes.get(key[0]), graph.product(event)
        layers.append(
            ProfiledLayer(
                key[0],
                event["args"]["op_name"],
                times[key],
                [name for name in node.input if name] if node is not None else [],
                [name for name in node.output if name] if node is not None else [],
                found.layer.number_format if found else None,
                found.layer.multiply_adds if found else None,
                _shape(found, {} if node is None else {a.name: a for a in node.attribute}) if found else "",
            )
        )
    return Profiled(layers, [output.name for output in graph.graph.output])


def _shape(found: Product, attributes: Mapping[str, Any]) -> str:
    """A convolution's weights are [outputs, inputs / groups, height, width] in every layout."""
    output, weight = found.output, found.weight
    if "Conv" not in found.layer.kind or len(weight) != 4 or len(output) != 4:
        return product(found.layer.multiply_adds // max(1, _elements(output)), output)
    groups = attributes["group"].i if "group" in attributes else 1
    last = "channels_last" in attributes and attributes["channels_last"].i
    size = output[1:3] if last else output[2:4]
    return convolution(weight[2:], weight[1] * groups, weight[0], size, groups)


def _elements(shape: Sequence[int]) -> int:
    count = 1
    for side in shape:
        count *= side
    return count
