"""What an engine runs in, and on which device: on ONNX Runtime's own profiles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from stages.artifacts import Precision
from stages.backends.audit import audit_onnx, devices, told
from tests.stages.engines import exported

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def profiled(tmp_path: Path) -> tuple[Path, Path]:
    """The optimized graph and the profile of a run of the stand-in detector on the CPU."""
    import onnxruntime as ort

    model = exported(tmp_path / "model", Precision.FP32).path("model.onnx")
    settings = ort.SessionOptions()
    settings.optimized_model_filepath, settings.enable_profiling = str(tmp_path / "optimized.onnx"), True
    settings.profile_file_prefix = str(tmp_path / "profile")
    session = ort.InferenceSession(str(model), settings, providers=[CPU])
    session.run(None, {v.name: np.ones(v.shape, np.float32) for v in session.get_inputs()})
    return tmp_path / "optimized.onnx", Path(session.end_profiling())


def moved(profile: Path, kinds: set[str], copies: int = 0) -> Path:
    """The same profile as if CUDA had run all nodes but those of some kinds."""
    events: list[dict[str, Any]] = json.loads(profile.read_text())
    for event in events:
        if event.get("args", {}).get("op_name") and event["args"]["op_name"] not in kinds:
            event["args"]["provider"] = CUDA
    for number in range(copies):
        args = {"op_name": "MemcpyToHost", "provider": CUDA, "output_type_shape": []}
        events.append({"cat": "Node", "name": f"copy{number}_kernel_time", "args": args})
    changed = profile.with_name("moved.json")
    changed.write_text(json.dumps(events))
    return changed


def test_what_ran_where_it_was_asked_to_needs_no_words(profiled: tuple[Path, Path]) -> None:
    found = devices(profiled[1], CPU)
    count = len(onnx.load(str(profiled[0])).graph.node)
    assert found == {"nodes": {CPU: count}, "elsewhere": {}, "copies": 0}
    assert told(found, CPU) is None


def test_every_node_that_falls_back_to_the_cpu_is_named_and_counted(profiled: tuple[Path, Path]) -> None:
    graph = onnx.load(str(profiled[0])).graph
    sums = sum(node.op_type == "Sigmoid" for node in graph.node)
    assert sums
    audit = audit_onnx(profiled[0], moved(profiled[1], {"Sigmoid"}, copies=2), CUDA)
    found = audit["devices"]
    assert found["nodes"] == {CUDA: len(graph.node) - sums + 2, CPU: sums}
    assert found["elsewhere"] == {CPU: {"Sigmoid": sums}} and found["copies"] == 2
    assert found["share_elsewhere"] == 0, "none of them multiplies"
    sentence = told(found, CUDA)
    assert sentence == (
        f"{sums} of {len(graph.node) + 2} nodes run on CPU (Sigmoid {sums}), not on CUDA, with 0.0% of the "
        "multiply-adds; 2 copies between devices"
    )


def test_work_that_falls_back_counts_by_its_multiply_adds(profiled: tuple[Path, Path]) -> None:
    audit = audit_onnx(*profiled, CUDA)
    assert audit["devices"]["share_elsewhere"] == 1, "all of it ran on the CPU"
    assert CUDA not in audit["devices"]["nodes"]
    assert "devices" not in audit_onnx(*profiled), "on the CPU there is no other device"


def test_nodes_on_two_other_providers_are_told_apart() -> None:
    found = {"nodes": {"TensorrtExecutionProvider": 1, CUDA: 3, CPU: 2}, "copies": 1,
             "elsewhere": {CUDA: {"Concat": 1, "NonZero": 2}, CPU: {"Shape": 2}}}  # fmt: skip
    assert told(found, "TensorrtExecutionProvider") == (
        "2 of 6 nodes run on CPU (Shape 2) and 3 of 6 nodes run on CUDA (NonZero 2, Concat 1), not on Tensorrt; "
        "1 copies between devices"
    )
