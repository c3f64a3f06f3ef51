"""ONNX Runtime's CUDA provider on a real GPU: skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stages import backends
from stages.agreement.detect import NodeByNode
from stages.artifacts import Engine, ExportedModel, Precision
from stages.backends.base import Available, nvidia_gpus
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.build.build import Build, BuildInputs
from stages.detection.inference import feeds_for
from stages.latency.gpu import gpu_probe
from stages.latency.latency import Latency, LatencyInputs
from stages.options.backend import BuildOptions
from stages.options.latency import LatencyOptions
from tests.fakes import FakeContext
from tests.stages.engines import SIZE, exported, unlabeled

BOUNDS = {"fp32": 1e-3, "fp16": 0.05, "int8": 0.2, "int8_fp16": 0.2}
"""Largest difference to the graph: rounding, what FP16 rounds, and two steps of the quantizer."""


@pytest.fixture(autouse=True)
def gpu() -> None:
    state = backends.get("onnxruntime").availability(OnnxRuntimeOptions(provider="cuda"))
    if not isinstance(state, Available):
        pytest.skip(str(state))
    if not nvidia_gpus():
        pytest.skip("this machine has no NVIDIA GPU")


def built(variant: str, folder: Path) -> tuple[Engine, ExportedModel, FakeContext]:
    """The engine, the model that it was made of, and what the stage said."""
    precision = Precision.INT8 if variant.startswith("int8") else Precision.FP32
    model, context = exported(folder / f"model-{variant}", precision), FakeContext(folder / variant)
    options = {"provider": "cuda", "variants": [variant]}
    engine = Build(BuildOptions(backend="onnxruntime", options=options)).run(BuildInputs(model=model), context)
    return engine, model, context


@pytest.mark.parametrize("variant", BOUNDS)
def test_it_computes_what_the_graph_says_and_on_the_gpu(variant: str, tmp_path: Path) -> None:
    engine, model, context = built(variant, tmp_path)
    found = engine.notes["audit"]["devices"]
    assert found["nodes"].get("CUDAExecutionProvider", 0) > 0
    assert found["share_elsewhere"] == 0, f"multiply-adds on the CPU: {context.warnings}"
    assert engine.notes["cuda"]["graph"] is not bool(found["elsewhere"]), "one launch, if nothing runs elsewhere"
    assert bool(found["elsewhere"]) == any("not on CUDA" in line for line in context.warnings), "told, if anything is"
    rng = np.random.default_rng(0)
    image, scale = rng.standard_normal((1, 3, SIZE, SIZE)).astype(np.float32), np.float32([[0.5, 2.0]])
    feeds = feeds_for(engine, image, scale)
    with backends.get("onnxruntime").open(engine) as session:
        outputs = session.infer(feeds)
    reference = NodeByNode(model).infer(feeds)
    gaps = [float(np.abs(a - b).max()) for a, b in zip(outputs, reference, strict=True)]
    assert max(gaps) <= BOUNDS[variant]


def test_a_timing_on_a_gpu_says_what_its_clocks_did(tmp_path: Path) -> None:
    if gpu_probe() is None:
        pytest.skip("nvidia-ml-py is not installed")
    engines = [built(variant, tmp_path)[0] for variant in ("fp32", "fp16")]
    inputs = LatencyInputs(engines=engines, images=unlabeled(tmp_path / "images"))
    options = LatencyOptions(runs=200, rounds=4, images=2)
    told = json.loads(Latency(options).run(inputs, FakeContext(tmp_path / "latency")).path("latency.json").read_text())
    for variant in ("fp32", "fp16"):
        evidence = told["engines"][variant]["runtime"]["validity"]["gpu"]
        low, high = evidence["sm_mhz"]
        assert 100 <= low <= high <= 5000 and evidence["memory_mhz"] >= 100, evidence
        assert 0 < evidence["celsius"] < 120 and evidence["persistence"] is not None
    assert told["over_fp32"]["fp16"]["runtime"]["median"] > 0
