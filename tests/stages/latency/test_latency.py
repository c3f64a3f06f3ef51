"""The latency stage: on a stub backend of known delays, and on a real engine in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import pytest

from stages import backends
from stages.artifacts import Engine, ExportedModel, ImageList, Precision
from stages.backends.base import Array, Available, Built, Feeds
from stages.errors import ConfigError, StageCrashed, StageError, UnavailableError
from stages.latency import engine_process
from stages.latency.latency import Latency, LatencyInputs
from stages.latency.timed_engine import Setup, TimedEngine, open_timed_engine
from stages.latency.timing import choose_cpus
from stages.numerics.variants import engine_of
from stages.options.backend import BackendOptions
from stages.options.latency import LatencyOptions
from tests.fakes import FakeContext
from tests.stages.backends.test_base import build
from tests.stages.engines import CLASSES, SIZE, exported, unlabeled
from tests.stages.latency.test_timing import VirtualClock

CLOCK = VirtualClock()
DELAYS = {Precision.FP32: 30.0, Precision.INT8: 10.0}


class Stub:
    """A backend whose engines take a known time on the virtual clock."""

    name: ClassVar[str] = "stub"
    Options: ClassVar[type[BackendOptions]] = BackendOptions

    def availability(self, options: BackendOptions | None = None) -> Available:
        return Available("stub")

    def fingerprint(self) -> Mapping[str, str]:
        return {"cpu": "none"}

    def prepare(self) -> None:
        CLOCK.wait(1000)

    def build(self, model: ExportedModel, precision: Precision, options: BackendOptions, out: Path) -> Built:
        raise NotImplementedError

    @contextmanager
    def open(self, engine: Engine) -> Iterator[Any]:
        CLOCK.wait(200)
        yield StubSession(engine)


class StubSession:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.calls = 0
        self.feeds: list[Feeds] = []

    def infer(self, feeds: Feeds) -> list[Array]:
        CLOCK.wait(DELAYS[self.engine.precision] + (70 if self.calls == 0 else 0))
        self.calls += 1
        self.feeds.append(feeds)
        batch = self.engine.batch
        return [np.ones((batch, 5, 4), np.float32), np.full((batch, CLASSES, 5), 0.5, np.float32)]


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "get", lambda name: Stub())


def engine(folder: Path, precision: Precision, **more: Any) -> Engine:
    model = exported(folder / str(precision), precision)
    return Engine(
        root=model.root,
        files=model.files,
        backend="stub",
        precision=precision,
        main="model.onnx",
        input_size=[SIZE, SIZE],
        batch=more.pop("batch", 1),
        scale_factor=True,
        image_input="image",
        scale_input="scale_factor",
        boxes_output="boxes",
        scores_output="scores",
        options={"threads": 1, **more},
    )


def pair(folder: Path) -> list[Engine]:
    return [engine(folder, p) for p in Precision]


@contextmanager
def here(setups: list[Setup], folder: Path) -> Iterator[list[TimedEngine]]:
    """All engines in this process, on the virtual clock."""
    with ExitStack() as stack:
        yield [stack.enter_context(open_timed_engine(setup, CLOCK, watched=False)) for setup in setups]


def test_a_stub_of_known_delays_is_timed_exactly(stub: None, tmp_path: Path, context: FakeContext) -> None:
    inputs = LatencyInputs(engines=pair(tmp_path), images=unlabeled(tmp_path / "images"))
    options = LatencyOptions(warmup=3, warmup_seconds=0, runs=20, rounds=4, images=2)
    result = Latency(options, here).run(inputs, context)
    told = json.loads(result.path("latency.json").read_text())
    assert told["schema_version"] == 3 and told["backend"] == "stub" and told["threads"] == 1
    assert len(told["affinity"]) == 1 and told["rounds"] == 4 and told["warmup"] == 3
    for precision, delay in DELAYS.items():
        found = told["engines"][str(precision)]
        assert found["cold_start"] == {
            "import_s": pytest.approx(1),
            "load_s": pytest.approx(0.2),
            "first_inference_s": pytest.approx((delay + 70) / 1000),
        }
        for mode in ("runtime", "end2end"):  # only the engine moves the clock
            assert found[mode]["count"] == 20
            assert [found[mode][k] for k in ("mean_ms", "p50_ms", "p99_ms")] == pytest.approx([delay] * 3)
            assert found[mode]["std_ms"] == pytest.approx(0, abs=1e-9)
            assert found[mode]["images_per_s"] == pytest.approx(1000 / delay)
            assert found[mode]["warmup"] == {"runs": 3, "seconds": pytest.approx(delay * 3e-3), "stable": None}
            assert found[mode]["validity"]["verdict"] == "valid"
            assert found[mode]["validity"]["cells"]["p99_ms"] == "invalid: too few samples (20, p99 needs 1000)"
        assert found["parts"] == {"preprocess_ms": 0, "engine_ms": pytest.approx(delay), "nms_ms": 0}
        assert found["memory"]["peak_mb"] > 10
    for mode in ("runtime", "end2end"):
        ratio = told["speedup"][mode]
        assert ratio["rounds"] == [pytest.approx(3.0)] * 4
        assert [ratio[k] for k in ("median", "low", "high")] == [pytest.approx(3.0)] * 3
    with np.load(result.path("samples.npz")) as samples:
        assert samples["fp32.runtime"] == pytest.approx(np.full(20, 0.03))
        assert samples["int8.end2end.round"].tolist() == sorted([0, 1, 2, 3] * 5)
    assert context.value("latency.stub.int8.p50_ms") == pytest.approx(10)
    assert context.value("latency.stub.fp32.end2end.p50_ms") == pytest.approx(30)
    assert context.value("latency.stub.speedup") == pytest.approx(3)
    assert context.value("latency.stub.end2end.speedup_low") == pytest.approx(3)
    assert context.progress_calls[-1][:2] == (80, 80)


def test_every_ratio_has_its_verdict_and_the_result_says_what_is_disturbed(
    stub: None, tmp_path: Path, context: FakeContext
) -> None:
    inputs = LatencyInputs(engines=pair(tmp_path), images=unlabeled(tmp_path / "images"))
    options = LatencyOptions(warmup=0, warmup_seconds=0, runs=10, rounds=2, images=1, names=["champion", "challenger"])
    result = Latency(options, here).run(inputs, context)
    told = json.loads(result.path("latency.json").read_text())
    for ratio in told["against"]["champion"].values():
        assert ratio["verdict"] == "valid" and ratio["median"] == pytest.approx(3)
    assert result.disturbed == [] and result.rounds == {"runtime": 2, "end2end": 2}
    assert result.intervals["against.champion.runtime"] == [pytest.approx(3)] * 2
    once = Latency(replace(options, rounds=1, max_rounds=1), here).run(inputs, FakeContext(tmp_path / "once"))
    told = json.loads(once.path("latency.json").read_text())
    said = "invalid: too few rounds (1, an interval needs 2)"
    assert {ratio["verdict"] for ratio in told["against"]["champion"].values()} == {said}
    assert once.disturbed == [] and once.intervals == {}  # measuring again would not help


def test_more_rounds_are_timed_for_a_gate_that_is_undecided(
    stub: None, tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    steady = CLOCK.wait
    monkeypatch.setattr(CLOCK, "wait", lambda ms: steady(ms * (1 + rng.normal(0, 0.05))))
    inputs = LatencyInputs(engines=pair(tmp_path), images=unlabeled(tmp_path / "images"))

    def rounds(**limits: float) -> dict[str, int]:
        options = LatencyOptions(warmup=0, warmup_seconds=0, runs=12, rounds=3, images=1, max_rounds=12)
        options.limits = {name.replace("__", "."): limit for name, limit in limits.items()}
        made = FakeContext(tmp_path / f"of-{len(list(tmp_path.iterdir()))}")
        result = Latency(options, here).run(inputs, made)
        assert made.progress_calls[-1][0] == made.progress_calls[-1][1] == 2 * 4 * sum(result.rounds.values())
        told = json.loads(result.path("latency.json").read_text())
        assert len(told["engines"]["int8"]["runtime"]["rounds_ms"]) == result.rounds["runtime"] == told["rounds"]
        if not Latency.objection(result, options):
            return result.rounds
        raise AssertionError("it was not decided, although more rounds were allowed")

    assert rounds() == rounds(over_fp32__runtime=1.5) == {"runtime": 3, "end2end": 3}
    found = rounds(over_fp32__runtime=3.0)
    assert found["runtime"] > 3 and found["end2end"] == 3


def test_an_engine_is_timed_as_each_variant_that_it_is_opened_as(
    stub: None, tmp_path: Path, context: FakeContext
) -> None:
    opened: list[str] = []

    @contextmanager
    def noted(setups: list[Setup], folder: Path) -> Iterator[list[TimedEngine]]:
        opened.extend(setup.engine.precision for setup in setups)
        plain = [replace(s, engine=replace(s.engine, precision=engine_of(s.engine.precision))) for s in setups]
        with here(plain, folder) as engines:
            yield engines

    inputs = LatencyInputs(engines=pair(tmp_path), images=unlabeled(tmp_path / "images"))
    wanted = ["fp32", "int8", "int8_pm", "bf16"]  # no engine for the last: it could not be built
    options = LatencyOptions(warmup=0, warmup_seconds=0, runs=10, rounds=2, images=1, variants=wanted)
    result = Latency(options, noted).run(inputs, context)
    told = json.loads(result.path("latency.json").read_text())
    assert opened == list(told["engines"]) == wanted[:3]
    assert told["over_fp32"]["int8_pm"]["runtime"]["median"] == pytest.approx(3)
    assert told["over_best_float"]["int8"]["runtime"]["against"] == "fp32"
    assert context.value("latency.stub.int8_pm.over_fp32") == pytest.approx(3)
    assert context.value("latency.stub.int8_pm.end2end.over_best_float_low") == pytest.approx(3)


class StubOnGpu(Stub):
    @contextmanager
    def open(self, engine: Engine) -> Iterator[Any]:
        yield StubGpuSession(engine)


class StubGpuSession(StubSession):
    def steps(self, feeds: Feeds) -> list[tuple[str, Callable[[], None]]]:
        delays = {"host_to_device": 2.0, "compute": 5.0, "device_to_host": 1.0}
        return [(name, lambda ms=ms: CLOCK.wait(ms)) for name, ms in delays.items()]  # type: ignore[misc]


def test_a_gpus_copies_and_work_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: FakeContext
) -> None:
    monkeypatch.setattr(backends, "get", lambda name: StubOnGpu())
    inputs = LatencyInputs(engines=pair(tmp_path), images=unlabeled(tmp_path / "images"))
    result = Latency(LatencyOptions(warmup=0, runs=10, rounds=1), here).run(inputs, context)
    parts = json.loads(result.path("latency.json").read_text())["engines"]["int8"]["parts"]
    assert [parts[k] for k in ("host_to_device_ms", "compute_ms", "device_to_host_ms")] == pytest.approx([2, 5, 1])
    assert parts["engine_ms"] == pytest.approx(10)


def test_one_engine_has_no_speedup(stub: None, tmp_path: Path, context: FakeContext) -> None:
    inputs = LatencyInputs(engines=pair(tmp_path)[:1], images=unlabeled(tmp_path / "images"))
    result = Latency(LatencyOptions(warmup=0, runs=10, rounds=1), here).run(inputs, context)
    told = json.loads(result.path("latency.json").read_text())
    assert list(told["engines"]) == ["fp32"] and "speedup" not in told


def test_what_cannot_be_compared_is_refused(stub: None, tmp_path: Path, context: FakeContext) -> None:
    images = unlabeled(tmp_path / "images")
    first = engine(tmp_path, Precision.FP32)

    def run(*engines: Engine) -> None:
        Latency(LatencyOptions()).run(LatencyInputs(engines=list(engines), images=images), context)

    with pytest.raises(StageError, match="got no engine"):
        run()
    with pytest.raises(StageError, match="thread count"):
        run(first, engine(tmp_path, Precision.INT8, threads=2))
    with pytest.raises(StageError, match="backend"):
        run(first, replace(engine(tmp_path, Precision.INT8), backend="other"))
    with pytest.raises(StageError, match="same variant"):
        run(first, first)
    with pytest.raises(ConfigError, match=r"backend\.stub\.threads: 4096 threads"):
        run(engine(tmp_path, Precision.FP32, threads=4096))


def test_every_bad_option_is_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Latency(LatencyOptions(warmup=-1, rounds=0, images=0, max_seconds=0))
    assert len(caught.value.problems) == 4


def timed(engines: list[Engine], images: ImageList, context: FakeContext, **options: Any) -> dict[str, Any]:
    chosen = LatencyOptions(**{"warmup": 2, "warmup_seconds": 0, "runs": 12, "rounds": 3, "images": 2, **options})
    result = Latency(chosen).run(LatencyInputs(engines=engines, images=images), context)
    told: dict[str, Any] = json.loads(result.path("latency.json").read_text())
    return told


@pytest.mark.parametrize("name", backends.names())
@pytest.mark.timing
def test_real_engines_are_timed_each_in_its_own_process(name: str, tmp_path: Path, context: FakeContext) -> None:
    engines = [build(name, p, tmp_path / "engines", batch=2) for p in Precision]
    state = backends.get(name).availability()
    if isinstance(state, Available) and not state.can_run:  # TensorRT for RTX is built without a GPU, not run
        with pytest.raises(UnavailableError, match="cannot run"):
            timed(engines, unlabeled(tmp_path / "images"), context)
        return
    told = timed(engines, unlabeled(tmp_path / "images"), context)
    assert told["batch"] == 2
    for found in told["engines"].values():
        assert found["runtime"]["count"] == found["end2end"]["count"] == 12
        assert 0 < found["runtime"]["min_ms"] < found["end2end"]["min_ms"]  # preprocessing and NMS take time
        assert found["parts"]["preprocess_ms"] > 0 and found["parts"]["nms_ms"] > 0
        assert found["memory"]["peak_mb"] > found["memory"]["engine_mb"] > 0
        assert found["cold_start"]["import_s"] > 0


@contextmanager
def planted_load(cpu: int) -> Iterator[None]:
    """Another process that always works on a CPU."""
    code = f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile True: pass"
    load = psutil.Popen([sys.executable, "-c", code])
    try:
        while load.cpu_times().user < 0.1:  # it is at it
            time.sleep(0.02)
        yield
    finally:
        load.kill()
        load.wait()


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="only Linux tells what else its CPUs did")
@pytest.mark.timing
def test_a_real_load_on_both_engines_is_not_called_a_slowdown(tmp_path: Path, context: FakeContext) -> None:
    engine = build("onnxruntime", Precision.FP32, tmp_path / "engines")
    images = unlabeled(tmp_path / "images")
    with planted_load(choose_cpus(1)[0]):
        told = timed(
            [engine, engine], images, context, names=["champion", "challenger"], runs=5000, rounds=5, max_seconds=2.5
        )
    ratio = told["against"]["champion"]["runtime"]
    for found in told["engines"].values():
        assert "CPU shared with the load of other processes" in found["runtime"]["validity"]["verdict"]
    assert ratio["taken"] > 0.2
    # Another load than this one may have hit one engine more: then the ratio says so, and is no slowdown either.
    assert ratio["verdict"] != "valid" or (ratio["low"] <= 1.05 and ratio["high"] >= 0.95)


@pytest.mark.skipif(not Path("/proc/stat").is_file(), reason="only Linux tells what else its CPUs did")
@pytest.mark.timing
def test_a_foreign_load_on_the_same_cpu_is_seen_and_said(tmp_path: Path, context: FakeContext) -> None:
    engines = [build("onnxruntime", p, tmp_path / "engines") for p in Precision]
    images = unlabeled(tmp_path / "images")
    cpu = choose_cpus(1)[0]
    with planted_load(cpu):
        told = timed(engines, images, context, runs=3000, rounds=3, max_seconds=1.5)
    assert told["affinity"] == [cpu]
    for found in told["engines"].values():
        validity = found["runtime"]["validity"]
        assert "CPU shared with the load of other processes" in validity["verdict"]
        assert max(validity[k] or 0 for k in ("waited_share", "foreign_share")) > 0.2
    assert any("fp32 runtime: invalid: CPU shared" in warning for warning in context.warnings)


def test_timing_in_a_process_that_has_seen_paddle_is_refused(
    stub: None, tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "paddle", sys)
    inputs = LatencyInputs(engines=pair(tmp_path), images=unlabeled(tmp_path / "images"))
    with pytest.raises(StageError, match="Paddle was imported"):
        Latency(LatencyOptions(warmup=0, runs=10, rounds=1), here).run(inputs, context)


def test_an_engine_that_cannot_be_opened_is_an_error_of_its_own_kind(tmp_path: Path, context: FakeContext) -> None:
    engine = build("onnxruntime", Precision.FP32, tmp_path / "engines")
    engine.path(engine.main).write_bytes(b"no model")
    with pytest.raises(StageError, match=r"cannot load model\.onnx"):
        timed([engine], unlabeled(tmp_path / "images"), context)


def test_a_process_that_dies_is_an_error(tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = build("onnxruntime", Precision.FP32, tmp_path / "engines")
    real = engine_process.EngineProcess.ask

    def ask(self: engine_process.EngineProcess, *arguments: Any) -> dict[str, Any]:
        self._process.kill()
        return real(self, *arguments)

    monkeypatch.setattr(engine_process.EngineProcess, "ask", ask)
    with pytest.raises(StageCrashed, match="onnxruntime fp32 engine ended with exit code -9"):
        timed([engine], unlabeled(tmp_path / "images"), context)


def test_the_stage_imports_no_paddle_and_no_runtime() -> None:
    code = (
        "import sys, stages.latency.latency, stages.build.build;"
        "bad = {'paddle', 'ppdet', 'onnx', 'onnxruntime', 'openvino', 'cv2'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
