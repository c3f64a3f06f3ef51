"""What a built engine says it runs: TensorRT's engine inspector, where there is a GPU to load the engine."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stages.backends.profiled import ProfiledLayer, convolution, product
from stages.numerics.audit import Layer, summarise

_TYPES = (("int8", "int8"), ("bf16", "bf16"), ("bfloat16", "bf16"), ("fp16", "fp16"), ("half", "fp16"),
          ("fp32", "fp32"), ("float", "fp32"))  # fmt: skip
"""What stands in a tensor's ``Format/Datatype`` -> number format; the first that fits (``Half`` is no ``Float``)."""


def inspect(trt: Any, engine: Any) -> dict[str, Any]:
    """What `read` makes of a loaded engine.

    Args:
        trt: the module ``tensorrt`` or ``tensorrt_rtx``.
        engine: an ``ICudaEngine`` that was built with detailed profiling verbosity.
    """
    inspector = engine.create_engine_inspector()
    return read(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def read(text: str) -> dict[str, Any]:
    """The inspector's JSON in numbers.

    Returns:
        ``layers``: how many there are; ``fused``: how many of them stand for several of the network's;
        ``formats``: how many compute in each number format, by their first input; ``layouts``: how many take each
        layout of memory, in TensorRT's words; ``audit``, as `stages.numerics.audit.summarise` gives it with
        ``read_from="engine"``, if the weights of all layers that have some are told.
    """
    listed = json.loads(text).get("Layers", [])
    layers = [layer for layer in listed if isinstance(layer, dict) and layer.get("Inputs")]
    found: dict[str, Any] = {
        "layers": len(listed),
        "fused": sum(
            " + " in str(layer.get("Name")) or "fus" in str(layer.get("LayerType")).lower() for layer in layers
        ),
        "formats": dict(Counter(_format(layer) for layer in layers)),
        "layouts": dict(Counter(str(layer["Inputs"][0].get("Format/Datatype")) for layer in layers)),
    }
    weighted = [layer for layer in layers if _count(layer)]
    if weighted and all(layer.get("OutMaps") and layer.get("Outputs") for layer in weighted):
        own = [Layer(str(w["Name"]), str(w["LayerType"]), _format(w), _multiply_adds(w)) for w in weighted]
        found["audit"] = {**summarise(own), "read_from": "engine"}
    return found


def layers_of(text: str, times: Mapping[str, Sequence[float]]) -> list[ProfiledLayer]:
    """What TensorRT's profiler reported, with what the inspector tells of those layers.

    Args:
        text: the inspector's JSON.
        times: name -> milliseconds of each run. What moves data between two layers may be reported and not listed.
    """
    listed = {str(layer.get("Name")): layer for layer in json.loads(text).get("Layers", []) if isinstance(layer, dict)}
    found = []
    for name, ms in times.items():
        layer = listed.get(name, {})
        weighted = bool(layer.get("Inputs")) and _count(layer) > 0 and bool(layer.get("OutMaps"))
        found.append(
            ProfiledLayer(
                name,
                str(layer.get("LayerType") or ("Reformat" if name.startswith("Reformat") else "")),
                list(ms),
                _names(layer, "Inputs"),
                _names(layer, "Outputs"),
                _format(layer) if weighted else None,
                _multiply_adds(layer) if weighted and layer.get("Outputs") else None,
                _shape(layer) if weighted and layer.get("Outputs") else "",
            )
        )
    return found


def _names(layer: Mapping[str, Any], side: str) -> list[str]:
    return [str(tensor["Name"]) for tensor in layer.get(side) or [] if isinstance(tensor, dict) and tensor.get("Name")]


def _shape(layer: Mapping[str, Any]) -> str:
    output = [int(size) for size in layer["Outputs"][0]["Dimensions"]]
    given = [int(size) for size in layer["Inputs"][0]["Dimensions"]]
    kernel = [int(size) for size in layer.get("Kernel") or []]
    if len(output) != 4 or len(given) != 4 or not kernel:
        return product(_count(layer) // int(layer["OutMaps"]), output)
    return convolution(kernel, given[1], output[1], output[2:], int(layer.get("Groups") or 1))


def _format(layer: Mapping[str, Any]) -> str:
    told = str(layer["Inputs"][0].get("Format/Datatype")).lower()
    return next((name for word, name in _TYPES if word in told), told)


def _count(layer: Mapping[str, Any]) -> int:
    weights = layer.get("Weights")
    return int(weights.get("Count") or 0) if isinstance(weights, dict) else 0


def _multiply_adds(layer: Mapping[str, Any]) -> int:
    """Output elements x weight elements / output channels."""
    elements = 1
    for size in layer["Outputs"][0]["Dimensions"]:
        elements *= int(size)
    return elements * _count(layer) // int(layer["OutMaps"])
