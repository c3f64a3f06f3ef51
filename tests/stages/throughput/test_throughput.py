"""The throughput stage: on engines whose times are known, and on real ones, each in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages import backends
from stages.artifacts import Engine, Precision
from stages.backends.base import Available, Streaming
from stages.errors import ConfigError, StageCrashed, StageError
from stages.latency.machine import Usage
from stages.latency.timed_engine import Setup
from stages.latency.timing import Warmup
from stages.options.throughput import ServerSettings, ThroughputOptions, check_server
from stages.throughput import engine_process, scenarios, throughput
from stages.throughput.grid import Point, Shape
from stages.throughput.loaded_engine import LoadRound
from stages.throughput.throughput import Launch, Throughput, ThroughputInputs
from tests.fakes import FakeContext
from tests.stages.backends.test_base import build
from tests.stages.engines import unlabeled
from tests.stages.latency.test_latency import engine

CPUS = 4
SECONDS = {(4, 1): 0.12, (2, 2): 0.07, (1, 4): 0.04, (1, 1): 0.1}
"""Of a request of FP32, by streams and threads; INT8 takes half."""

Quiet = Callable[[str, int], Usage]


def usage(name: str, turn: int) -> Usage:
    return Usage(wall_s=2.0, cpu_s=8.0, foreign_s=0.0, waited_s=0.0, probe_s=1.0)


class Known:
    """An engine under load that takes what the table says."""

    wait = 0.0

    def __init__(self, name: str, seen: Quiet, later: dict[tuple[int, int], float]) -> None:
        self.name, self.seen, self.later = name, seen, later
        self.shape, self.turns = Shape(1, 1), 0
        self.asked: list[tuple[str, Shape]] = []
        self.rates: list[float] = []

    def _seconds(self, table: dict[tuple[int, int], float]) -> float:
        return table[self.shape.streams, self.shape.threads] / (2 if self.name.startswith("int8") else 1)

    def open(self, shape: Shape) -> None:
        self.shape = shape
        self.asked.append(("open", shape))

    def look(self, shape: Shape, seconds: float) -> Point:
        self.shape = shape
        self.asked.append(("look", shape))
        took = self._seconds(SECONDS)
        return Point(shape, shape.streams / took, [took] * 20)

    def task(self, window: int, rate: float | None = None) -> KnownLoad:
        return KnownLoad(self, window, rate)

    def closing(self) -> dict[str, Any]:
        return {"peak_mb": 9.0}


class KnownLoad:
    name = "load"

    def __init__(self, engine: Known, window: int, rate: float | None) -> None:
        self.engine, self.window, self.rate = engine, window, rate
        engine.rates += [] if rate is None else [rate]

    def warm(self, runs: int, seconds: float, limit: float) -> Warmup:
        return Warmup(runs, 0.0)

    def take(self, runs: int, least: int, budget: float, first: int, tell: Callable[[int], None]) -> LoadRound:
        self.engine.turns += 1
        took = self.engine._seconds({**SECONDS, **self.engine.later})
        if self.rate is None:
            latencies = [took] * (runs * self.window)
            samples = [self.window * took / self.engine.shape.streams] * runs
        else:  # the faster requests arrive, the longer they wait
            latencies = [took * (1 + self.engine.wait * self.rate * took)] * (runs * self.window)
            samples = [self.window / self.rate] * runs
        return LoadRound(samples, self.engine.seen(self.engine.name, self.engine.turns), latencies)


def known(seen: Quiet = usage, later: dict[tuple[int, int], float] | None = None) -> tuple[Launch, list[Known]]:
    """How to start such engines, and those that were.

    Args:
        later: what requests take when they are timed for good, where that is not what they took in the search.
    """
    made: list[Known] = []

    @contextmanager
    def launch(setups: list[Setup], folder: Path) -> Iterator[list[Known]]:
        made.extend(Known(setup.engine.precision, seen, later or {}) for setup in setups)
        yield made

    return launch, made


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four CPUs, and a backend that streams."""
    monkeypatch.setattr(throughput, "choose_cpus", lambda count: list(range(count)))
    monkeypatch.setattr(throughput, "why_not", lambda engine: None)


def measured(
    folder: Path, context: FakeContext, launch: Launch, names: tuple[str, ...] = ("fp32", "int8"), **options: Any
) -> tuple[dict[str, Any], list[str]]:
    engines = [replace(engine(folder, Precision(name)), precision=name) for name in names]
    chosen = ThroughputOptions(**{"cpus": CPUS, "requests": 200, "variants": [], **options})
    result = Throughput(chosen, launch).run(ThroughputInputs(engines, unlabeled(folder / "images")), context)
    told: dict[str, Any] = json.loads(result.path("throughput.json").read_text())
    return told, result.disturbed


def shape(found: dict[str, Any]) -> tuple[int, int]:
    return found["streams"], found["threads"]


def test_offline_takes_the_most_images_and_multi_stream_the_most_within_the_budget(
    four: None, tmp_path: Path, context: FakeContext
) -> None:
    launch, _ = known()
    told, disturbed = measured(tmp_path, context, launch, p99_ms=50.0)
    fp32, int8 = told["engines"]["fp32"], told["engines"]["int8"]
    assert [shape(one) for one in fp32["tried"]] == [(1, 1), (1, 4), (2, 2), (4, 1)]
    assert (shape(fp32["offline"]), shape(int8["offline"])) == ((4, 1), (4, 1))
    assert fp32["offline"]["images_per_s"] == pytest.approx(4 / 0.12)
    assert int8["offline"]["rounds_images_per_s"] == pytest.approx([8 / 0.12] * 5)
    assert fp32["offline"]["p99_ms"] == pytest.approx(120)
    # 60 ms of INT8 in four streams are over the budget, 35 ms in two are within it.
    assert (shape(fp32["multi_stream"]), shape(int8["multi_stream"])) == ((1, 4), (2, 2))
    assert fp32["multi_stream"]["within"] and int8["multi_stream"]["within"]
    assert told["over_fp32"]["int8"]["offline"]["median"] == pytest.approx(2)
    assert told["over_fp32"]["int8"]["offline"]["verdict"] == "valid"
    assert told["over_best_float"]["int8"]["multi_stream"]["against"] == "fp32"
    assert told["over_fp32"]["int8"]["multi_stream"]["median"] == pytest.approx((2 / 0.035) / (1 / 0.04))
    assert told["affinity"] == [0, 1, 2, 3] and told["budget_from"] == "latency.server.p99_ms" and disturbed == []
    assert context.value("throughput.stub.int8.offline.images_per_s") == pytest.approx(8 / 0.12)
    assert context.value("throughput.stub.int8.multi_stream.p99_ms") == pytest.approx(35)
    assert context.value("throughput.stub.int8.offline.over_fp32_low") == pytest.approx(2)
    done, total, _ = context.progress_calls[-1]
    assert done == total and [call[0] for call in context.progress_calls] == sorted(
        c[0] for c in context.progress_calls
    )
    with np.load(context.out / "samples.npz") as samples:
        assert samples["int8.offline"].size * fp32["offline"]["window"] == samples["int8.offline.latency"].size


def test_the_search_looks_at_every_engine_in_every_shape_forwards_and_backwards(
    four: None, tmp_path: Path, context: FakeContext
) -> None:
    launch, engines = known()
    measured(tmp_path, context, launch, search_passes=2, p99_ms=1000.0)
    for one in engines:
        looks = [(s.streams, s.threads) for what, s in one.asked if what == "look"]
        assert looks == [(1, 1), (1, 4), (2, 2), (4, 1), (4, 1), (2, 2), (1, 4), (1, 1)]
        # The same shape serves both scenarios, and is timed once.
        assert [what for what, _ in one.asked].count("open") == 1


def test_without_a_budget_it_is_a_multiple_of_fp32s_single_stream_for_all(
    four: None, tmp_path: Path, context: FakeContext
) -> None:
    launch, _ = known()
    told, _ = measured(tmp_path, context, launch, slack=0.8 + 0.3)
    assert told["budget_ms"] == pytest.approx(110)
    assert told["budget_from"] == "1.1 times the median of a single stream of fp32"
    assert shape(told["engines"]["fp32"]["multi_stream"]) == (2, 2)
    assert shape(told["engines"]["int8"]["multi_stream"]) == (4, 1)


def test_an_engine_that_no_shape_keeps_within_the_budget_has_no_load(
    four: None, tmp_path: Path, context: FakeContext
) -> None:
    launch, _ = known()
    told, _ = measured(tmp_path, context, launch, p99_ms=30.0)
    assert told["engines"]["fp32"]["multi_stream"] is None
    assert shape(told["engines"]["int8"]["multi_stream"]) == (1, 4)
    assert told["over_fp32"]["int8"].keys() == {"offline"}


def test_one_that_is_over_the_budget_when_it_is_timed_gives_way_to_the_next(
    four: None, tmp_path: Path, context: FakeContext
) -> None:
    launch, _ = known(later={(2, 2): 0.1})
    told, _ = measured(tmp_path, context, launch, p99_ms=75.0, names=("fp32",))
    assert shape(told["engines"]["fp32"]["multi_stream"]) == (1, 4)
    assert told["engines"]["fp32"]["multi_stream"]["within"]
    launch, _ = known(later={(1, 4): 0.1})
    told, _ = measured(tmp_path / "none", context, launch, p99_ms=45.0, names=("fp32",))
    assert shape(told["engines"]["fp32"]["multi_stream"]) == (1, 4)  # there is no other one
    assert not told["engines"]["fp32"]["multi_stream"]["within"]


def test_requests_arrive_as_fast_as_their_p99_allows(four: None, tmp_path: Path, context: FakeContext) -> None:
    launch, engines = known()
    told, _ = measured(tmp_path, context, launch, p99_ms=300.0)
    server = {name: told["engines"][name]["server"] for name in ("fp32", "int8")}
    for name, one in zip(("fp32", "int8"), engines, strict=True):
        (rate,) = one.rates
        assert server[name]["arriving_per_s"] == rate == pytest.approx(server[name]["images_per_s"])
        assert server[name]["within"] and shape(server[name]) == (4, 1)
        assert rate < told["engines"][name]["multi_stream"]["images_per_s"]
    ratio = told["over_fp32"]["int8"]["server"]
    assert ratio["verdict"] == "valid"
    held = server["int8"]["images_per_s"] / server["fp32"]["images_per_s"]
    assert ratio["median"] > 2 and ratio["low"] <= held <= ratio["high"]
    assert context.value("throughput.stub.int8.server.images_per_s") == pytest.approx(server["int8"]["images_per_s"])


def test_a_rate_that_is_hardly_one_is_not_waited_for(
    four: None, tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "LEAST", 0.3)
    launch, engines = known()
    told, _ = measured(tmp_path, context, launch, p99_ms=120.5)
    fp32, int8 = engines
    assert shape(told["engines"]["fp32"]["multi_stream"]) == (4, 1)
    assert told["engines"]["fp32"]["server"] is None and fp32.rates == []
    assert told["engines"]["int8"]["server"]["within"] and len(int8.rates) == 1
    assert told["over_fp32"]["int8"].keys() == {"offline", "multi_stream"}


def test_a_rate_that_does_not_hold_is_lowered_for_that_engine_alone(
    four: None, tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Known, "wait", 0.9)
    launch, engines = known()
    told, _ = measured(tmp_path, context, launch, p99_ms=300.0)
    fp32, int8 = engines
    assert len(fp32.rates) == len(int8.rates) > 1
    assert fp32.rates[1] == pytest.approx(0.9 * fp32.rates[0]) and int8.rates[1] == int8.rates[0]
    assert told["engines"]["int8"]["server"]["within"]


def test_a_planted_load_marks_the_numbers_and_speaks_against_the_stored_result(
    four: None, tmp_path: Path, context: FakeContext
) -> None:
    def busy(name: str, turn: int) -> Usage:
        found = usage(name, turn)
        return replace(found, foreign_s=4.0, cpu_s=4.0) if name == "fp32" else found

    launch, _ = known(busy)
    told, disturbed = measured(tmp_path, context, launch, p99_ms=1000.0)
    fp32, int8 = (told["engines"][name]["offline"] for name in ("fp32", "int8"))
    assert fp32["validity"]["verdict"] == "invalid: CPU shared with the load of other processes (50% of its time)"
    assert fp32["p99_validity"].startswith("invalid: too few samples (200, p99 needs 1000); CPU shared")
    assert int8["validity"]["verdict"] == "valid"
    assert told["over_fp32"]["int8"]["offline"]["verdict"].startswith("invalid: other processes held up one engine")
    assert any(said.startswith("fp32 offline: invalid: CPU shared") for said in disturbed)
    assert any("fp32 offline: invalid: CPU shared" in said for said in context.warnings)
    assert not any(said.startswith("int8 offline:") for said in disturbed)
    made = Throughput.Output(root=tmp_path, backend="stub", disturbed=disturbed)
    assert Throughput.objection(made, ThroughputOptions()).startswith("the timing was disturbed: fp32 offline")
    assert Throughput.objection(replace(made, disturbed=[]), ThroughputOptions()) == ""


def test_a_drift_between_rounds_marks_the_numbers(four: None, tmp_path: Path, context: FakeContext) -> None:
    class Drifting(Known):
        def _seconds(self, table: dict[tuple[int, int], float]) -> float:
            return super()._seconds(table) * (1.0 + 0.2 * (self.turns % 2))

    @contextmanager
    def launch(setups: list[Setup], folder: Path) -> Iterator[list[Known]]:
        yield [Drifting(setup.engine.precision, usage, {}) for setup in setups]

    told, disturbed = measured(tmp_path, context, launch, p99_ms=1000.0)
    assert told["engines"]["int8"]["offline"]["validity"]["verdict"] == "invalid: drift between rounds (20%)"
    assert told["over_fp32"]["int8"]["offline"]["verdict"] == "valid"  # both drifted alike
    assert len(disturbed) == 4


def test_enough_requests_make_the_percentile_valid(four: None, tmp_path: Path, context: FakeContext) -> None:
    launch, _ = known()
    told, _ = measured(tmp_path, context, launch, requests=1000, p99_ms=1000.0)
    assert told["engines"]["int8"]["offline"]["requests"] >= 1000
    assert told["engines"]["int8"]["offline"]["p99_validity"] == "valid"


def test_a_backend_that_runs_one_inference_at_a_time_says_so(tmp_path: Path, context: FakeContext) -> None:
    engines = [replace(engine(tmp_path, Precision.FP32), backend="paddle_inference")]
    inputs = ThroughputInputs(engines, unlabeled(tmp_path / "images"))
    result = Throughput(ThroughputOptions(), launch=known()[0]).run(inputs, context)
    told = json.loads(result.path("throughput.json").read_text())
    assert told["not_offered"] == "detpress runs one inference at a time on it" and told["engines"] == {}
    assert context.infos == ["paddle_inference: no throughput; detpress runs one inference at a time on it"]
    on_gpu = replace(engines[0], backend="onnxruntime", options={"threads": 1, "provider": "cuda"})
    assert "provider=cuda runs on a GPU" in str(throughput.why_not(on_gpu))


def test_bad_options_are_named() -> None:
    with pytest.raises(ConfigError) as caught:
        Throughput(ThroughputOptions(p99_ms=0, slack=1.0, streams=[0], rounds=1, cpus=0))
    assert len(caught.value.problems) >= 5
    assert check_server(ServerSettings(), 2) == []
    (problem,) = check_server(ServerSettings(cpus=4), 2)
    assert problem == "latency.server.cpus: 4 does not fit; this process may use 2 CPUs"
    (problem,) = check_server(ServerSettings(streams=[4, 8], threads=[2]), 4)
    assert problem.startswith("latency.server: 4 streams of 2 threads need 8 CPUs, and there are 4")
    (problem,) = check_server(ServerSettings(requests=10, rounds=11), 4)
    assert problem == "latency.server.requests: 10 does not fit; it must be at least latency.server.rounds=11"


def test_more_cpus_than_there_are_are_refused(
    tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "why_not", lambda engine: None)
    with pytest.raises(ConfigError, match=r"latency\.server\.cpus: 4096 threads"):
        measured(tmp_path, context, known()[0], cpus=4096)


STREAMING = [name for name in backends.names() if isinstance(backends.get(name), Streaming)]


def test_the_cpu_runtimes_stream() -> None:
    assert {"onnxruntime", "openvino"} <= set(STREAMING)


@pytest.mark.parametrize("name", STREAMING)
@pytest.mark.timing
def test_real_engines_are_loaded_each_in_its_own_process(name: str, tmp_path: Path, context: FakeContext) -> None:
    if not isinstance(backends.get(name).availability(), Available):
        pytest.skip(f"{name} is not installed")
    engines = [build(name, precision, tmp_path / "engines", batch=2) for precision in Precision]
    options = ThroughputOptions(cpus=1, streams=[1], requests=40, search_seconds=0.05, search_passes=1, rounds=2)
    inputs = ThroughputInputs(engines, unlabeled(tmp_path / "images"))
    result = Throughput(options).run(inputs, context)
    told = json.loads(result.path("throughput.json").read_text())
    assert told["batch"] == 2 and len(told["affinity"]) == 1
    for found in told["engines"].values():
        offline = found["offline"]
        assert offline["requests"] >= 40 and offline["window"] >= 1
        assert offline["images_per_s"] * offline["mean_ms"] == pytest.approx(2000, rel=0.2)  # one stream, two images
        assert found["memory"]["peak_mb"] > 10


@pytest.mark.parametrize("name", STREAMING)
def test_streams_find_what_one_session_finds(name: str, tmp_path: Path) -> None:
    if not isinstance(backends.get(name).availability(), Available):
        pytest.skip(f"{name} is not installed")
    made, backend = build(name, Precision.INT8, tmp_path / "engines"), backends.get(name)
    assert isinstance(backend, Streaming)
    rng = np.random.default_rng(0)
    size = made.input_size
    feeds: dict[str, Any] = {made.image_input: rng.normal(size=(1, 3, *size)).astype(np.float32)}
    if made.scale_factor:
        feeds[made.scale_input] = np.ones((1, 2), np.float32)
    with backend.open(made) as session:
        wanted = [output.copy() for output in session.infer(feeds)]
    for streams, threads in ((2, 1), (2, 2)):
        with backend.open_streams(made, streams, threads) as sessions:
            assert len(sessions) == streams
            for one in sessions:
                for output, other in zip(one.infer(feeds), wanted, strict=True):
                    np.testing.assert_allclose(output, other, rtol=1e-5, atol=1e-5)


def _broken(tmp_path: Path) -> Engine:
    made = build("onnxruntime", Precision.FP32, tmp_path / "engines")
    made.path(made.main).write_bytes(b"no model")
    return made


def test_an_engine_that_cannot_be_opened_is_an_error_of_its_own_kind(tmp_path: Path, context: FakeContext) -> None:
    inputs = ThroughputInputs([_broken(tmp_path)], unlabeled(tmp_path / "images"))
    with pytest.raises(StageError, match=r"cannot load model\.onnx"):
        Throughput(ThroughputOptions(cpus=1)).run(inputs, context)


def test_a_process_that_dies_is_an_error(tmp_path: Path, context: FakeContext, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine_process.EngineProcess.ask

    def ask(self: engine_process.EngineProcess, *arguments: Any) -> dict[str, Any]:
        self._process.kill()
        return real(self, *arguments)

    monkeypatch.setattr(engine_process.EngineProcess, "ask", ask)
    inputs = ThroughputInputs([_broken(tmp_path)], unlabeled(tmp_path / "images"))
    with pytest.raises(StageCrashed, match="loaded the onnxruntime fp32 engine ended with exit code -9"):
        Throughput(ThroughputOptions(cpus=1)).run(inputs, context)
