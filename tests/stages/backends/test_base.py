"""What every backend owes, run over all of them; and the few things that are a backend's own."""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest

from stages import backends
from stages.artifacts import Engine, Precision
from stages.backends.base import Available, Unavailable, parse_options
from stages.backends.onnxruntime.backend import saturates
from stages.backends.onnxruntime.options import OnnxRuntimeOptions
from stages.backends.onnxruntime.session import chain
from stages.build.build import Build, BuildInputs
from stages.detection.inference import feeds_for
from stages.errors import ConfigError, StageError, UnavailableError
from stages.options.backend import BuildOptions
from tests.fakes import FakeContext
from tests.stages.engines import CLASSES, SIZE, exported
from tests.stages.paddle.run_engine import run_elsewhere
from tests.stages.qdq import Array, detector
from tests.stages.workers import Worker

PADDLE = [name for name in backends.names() if getattr(backends.get(name), "uses_paddle", False)]
ALL = [n for n in backends.names() if n not in PADDLE] + [pytest.param(n, marks=pytest.mark.slow) for n in PADDLE]


def build(backend: str, precision: Precision, folder: Path, batch: int = 1, **options: object) -> Engine:
    """An engine through the build stage; skips where the backend is not available."""
    state = backends.get(backend).availability()
    if isinstance(state, Unavailable):
        pytest.skip(f"{backend}: {state}")
    own = folder / f"{backend}-{precision}"
    model = exported(folder / f"model-{precision}", precision, batch, paddle=backend in PADDLE)
    if backend in PADDLE:
        return build_elsewhere(backend, precision, batch)
    return Build(BuildOptions(backend=backend, options=options)).run(BuildInputs(model=model), FakeContext(own))


@functools.cache
def build_elsewhere(backend: str, precision: Precision, batch: int) -> Engine:
    """An engine of Paddle's, built in a worker; kept for the tests that follow, as that takes seconds."""
    folder = Path(tempfile.mkdtemp(prefix="detpress-"))
    atexit.register(shutil.rmtree, folder)
    model = exported(folder / "model", precision, batch, paddle=True)
    made: Engine = Worker(folder / "build", "build", BuildOptions(backend=backend), BuildInputs(model)).done()
    return made


def infer(engine: Engine, *batches: tuple[Array, Array]) -> list[list[Array]]:
    """The outputs for each batch, all kept until the last one has run; Paddle's in a process of its own."""
    state = backends.get(engine.backend).availability()
    if isinstance(state, Available) and not state.can_run:
        pytest.skip(f"{engine.backend}: {state.detail}")
    feeds = [feeds_for(engine, images, scales) for images, scales in batches]
    if engine.backend in PADDLE:
        return run_elsewhere(engine, feeds)
    with backends.get(engine.backend).open(engine) as session:
        found = [session.infer(each) for each in feeds]
        return [[np.array(o) for o in outputs] for outputs in found]


def inputs(batch: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(3)
    images = rng.standard_normal((batch, 3, SIZE, SIZE)).astype(np.float32)
    return images, np.tile(np.float32([[0.5, 2.0]]), (batch, 1))


@pytest.mark.parametrize("name", ALL)
def test_says_whether_it_can_run_and_on_what(name: str) -> None:
    backend = backends.get(name)
    assert isinstance(backend, backends.Backend) and backend.name == name
    state = backend.availability()
    assert isinstance(state, (Available, Unavailable))
    assert state.detail if isinstance(state, Available) else state.reason
    assert backend.fingerprint()["cpu"]
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in backend.fingerprint().items())
    assert parse_options(name, backend.Options, {}).threads == 1


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("precision", list(Precision))
@pytest.mark.parametrize("name", ALL)
def test_an_engine_gives_what_the_graph_says(name: str, precision: Precision, batch: int, tmp_path: Path) -> None:
    engine = build(name, precision, tmp_path, batch)
    assert (engine.backend, engine.precision, engine.batch) == (name, precision, batch)
    assert engine.main in engine.files and "infer_cfg.yml" in engine.files
    images, scales = inputs(batch)
    ((boxes, scores),) = infer(engine, (images, scales))
    n = (SIZE // 8) ** 2
    assert boxes.shape == (batch, n, 4) and scores.shape == (batch, CLASSES, n)
    assert boxes.dtype == scores.dtype == np.float32
    expected = reference(precision, batch, images, scales)
    bound = 1e-4 if precision is Precision.FP32 else 0.06  # INT8: a step of 0.05, doubled by the scale factor 0.5
    assert np.abs(boxes - expected[0]).max() <= bound and np.abs(scores - expected[1]).max() <= bound


def reference(precision: Precision, batch: int, images: Array, scales: Array) -> list[Array]:
    import onnxruntime as ort

    settings = ort.SessionOptions()
    settings.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = detector(SIZE, CLASSES, quantized=precision is Precision.INT8, batch=batch).SerializeToString()
    session = ort.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(["boxes", "scores"], {"image": images, "scale_factor": scales})
    return found


@pytest.mark.parametrize("name", ALL)
def test_outputs_of_one_run_survive_the_next(name: str, tmp_path: Path) -> None:
    engine = build(name, Precision.FP32, tmp_path)
    images, scales = inputs()
    first, second = infer(engine, (images, scales), (images * 3, scales))
    (alone,) = infer(engine, (images, scales))
    assert all(np.array_equal(a, b) for a, b in zip(first, alone, strict=True))
    assert not np.array_equal(first[0], second[0])


@pytest.mark.parametrize("name", ALL)
def test_the_audit_tells_int8_from_float(name: str, tmp_path: Path) -> None:
    floating = build(name, Precision.FP32, tmp_path).notes["audit"]
    assert floating["int8_share"] == 0 and len(floating["float_layers"]) == 2
    integer = build(name, Precision.INT8, tmp_path).notes["audit"]
    assert integer["int8_share"] == 1 and integer["float_layers"] == []

    def work(channels: int) -> int:
        return SIZE * SIZE * 9 * (channels * 16 + 16 * (4 + CLASSES))

    assert floating["multiply_adds"] == work(3)
    assert integer["multiply_adds"] == work(4 if name == "onnxruntime" else 3)  # see `pad_image_channels`


@pytest.mark.parametrize("name", ALL)
def test_unknown_options_and_bad_thread_counts_are_all_named(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(name, backends.get(name).Options, {"thread": 2, "threads": 0})
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("name", ALL)
def test_a_model_that_is_none_is_a_stage_error(name: str, tmp_path: Path) -> None:
    if isinstance(state := backends.get(name).availability(), Unavailable):
        pytest.skip(f"{name}: {state}")
    model = exported(tmp_path / "m", Precision.FP32, paddle=name in PADDLE)
    if name in PADDLE:
        model.path("model.pdmodel").write_bytes(b"not a model")
        told = Worker(tmp_path / "s", "build", BuildOptions(backend=name), BuildInputs(model=model)).failed()
        assert told["type"] == "StageError" and "again" in told["message"].lower()
        return
    model.path("model.onnx").write_bytes(b"not a model")
    with pytest.raises(StageError, match="again"):
        Build(BuildOptions(backend=name)).run(BuildInputs(model=model), FakeContext(tmp_path / "s"))


def test_importing_the_backends_imports_no_runtime() -> None:
    code = (
        "import sys; from stages import backends; [backends.get(n).fingerprint() for n in backends.names()];"
        "bad = {'onnx', 'onnxruntime', 'openvino', 'paddle', 'cv2', 'hydra', 'mlflow'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_unknown_backend_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="'tensorflow' is not known; there are onnxruntime"):
        backends.get("tensorflow")


def test_entry_points_add_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        importlib.metadata.EntryPoint("mine", "stages.backends.onnxruntime.backend:OnnxRuntime", backends.GROUP),
        importlib.metadata.EntryPoint("broken", "pathlib:PurePosixPath", backends.GROUP),
    ]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: entries if group == backends.GROUP else [])
    assert backends.names()[-2:] == ["broken", "mine"]
    assert type(backends.get("mine")).__name__ == "OnnxRuntime"
    with pytest.raises(ConfigError, match="lacks parts"):
        backends.get("broken")


# --- ONNX Runtime's own ----------------------------------------------------------------------------------------


def test_a_missing_provider_is_unavailable_and_an_unknown_one_a_config_error(tmp_path: Path) -> None:
    import onnxruntime as ort

    with pytest.raises(ConfigError, match="must be one of cpu, cuda, tensorrt"):
        build("onnxruntime", Precision.FP32, tmp_path, provider="gpu")
    if "CUDAExecutionProvider" in ort.get_available_providers():
        pytest.skip("this onnxruntime has the CUDA provider")
    with pytest.raises(UnavailableError, match="pip install onnxruntime-gpu"):
        build("onnxruntime", Precision.FP32, tmp_path, provider="cuda")


def test_providers_pass_on_what_they_leave(tmp_path: Path) -> None:
    (tmp_path / "float").write_bytes(b"Conv")
    (tmp_path / "int8").write_bytes(b"QuantizeLinear")
    cpu, cuda = "CPUExecutionProvider", "CUDAExecutionProvider"
    assert chain(tmp_path / "int8", "cpu") == [cpu]
    assert chain(tmp_path / "int8", "cuda") == [(cuda, {"use_tf32": "0"}), cpu], "FP32 is FP32"
    assert chain(tmp_path / "int8", "cuda", tf32=True) == [(cuda, {"use_tf32": "1"}), cpu]
    for name, int8 in (("int8", True), ("float", False)):
        first, *others = chain(tmp_path / name, "tensorrt")
        assert first == ("TensorrtExecutionProvider", {"trt_int8_enable": int8})
        assert others == [(cuda, {"use_tf32": "0"}), cpu]


def test_the_lowering_can_be_chosen(tmp_path: Path) -> None:
    engine = build("onnxruntime", Precision.INT8, tmp_path, lowering=["lift_zero_scales", "fold_weights"])
    assert [p["name"] for p in engine.notes["passes"]] == ["lift_zero_scales", "fold_weights"]
    given = {**asdict(OnnxRuntimeOptions()), "lowering": ["lift_zero_scales", "fold_weights"]}
    assert engine.options == {name: value for name, value in given.items() if name != "variants"}
    assert engine.notes["audit"]["int8_share"] < 1  # int8 activations: x86 kernels do not fuse them


def test_the_engine_of_int8_is_the_lowered_graph(tmp_path: Path) -> None:
    engine = build("onnxruntime", Precision.INT8, tmp_path)
    graph = onnx.load(str(engine.path(engine.main))).graph
    kinds = {t.name: t.data_type for t in graph.initializer}
    zeros = [kinds[n.input[2]] for n in graph.node if n.op_type == "QuantizeLinear"]
    assert zeros and set(zeros) == {onnx.TensorProto.UINT8}


def test_tuning_changes_no_number_and_can_be_left_out(tmp_path: Path) -> None:
    plain = build("onnxruntime", Precision.INT8, tmp_path / "a", tune=False)
    tuned = build("onnxruntime", Precision.INT8, tmp_path / "b")
    assert "tuning" not in plain.notes and tuned.notes["tuning"]["convolutions"] == 2
    pairs = zip(infer(plain, inputs())[0], infer(tuned, inputs())[0], strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    ("cpu", "expected"), [("x avx2", True), ("x avx2 avx_vnni", False), ("x avx2 avx512_vnni", False), ("arm", False)]
)
def test_cpus_that_sum_in_sixteen_bits_are_known(cpu: str, expected: bool) -> None:
    assert saturates(cpu) is expected
