"""``detpress size``: what it asks for, prints in 80 columns, and refuses; with numbers in place of engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.commands import size
from pipelines.config.schema import PipelineConfig
from pipelines.graph.sizes import Candidate, Search, Timing
from pipelines.size import Target

MODELS = "target.models=ppyoloe_tiny,ppyoloe_s"


class Machine:
    """A machine on which an engine takes so many nanoseconds per multiply-add; it keeps what it was asked for."""

    def __init__(self, ns: float, verdict: str = "valid") -> None:
        self.ns, self.verdict = ns, verdict
        self.target: Target | None = None
        self.configs: list[PipelineConfig] = []
        self.command: list[str] = []

    def run_size(
        self, target: Target, every: list[Candidate], compose: Callable[[Candidate], PipelineConfig], *,
        command: Sequence[str], **_: Any,
    ) -> Search:  # fmt: skip
        self.target, self.command = target, list(command)

        def measure(candidate: Candidate) -> Timing:
            self.configs.append(compose(candidate))
            return Timing(self.ns * candidate.work / 1e6, self.verdict)

        search = Search(every, target.latency_ms)
        search.run(measure, target.most)
        return search


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(2e-3)
    monkeypatch.setattr(size, "run_size", made.run_size)
    return made


def test_the_answer_is_a_table_and_the_command_to_continue_with(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["size", "target.latency_ms=12", "target.backend=openvino", MODELS, "backend.openvino.threads=2"]
    assert main(given) == 0
    told = capsys.readouterr().out.splitlines()
    table, rest = told[: told.index("")], told[told.index("") :]
    assert max(map(len, table)) <= 80 and [line.split()[0] for line in table] == ["Model", "ppyoloe_tiny", "ppyoloe_s"]
    assert "640 x 640" in table[1] and "about" in table[1] and "yes" in table[1]
    said = " ".join(rest)
    assert "reaches 12 ms in INT8 on openvino" in said and "does not:" in said
    assert "detpress compress model=ppyoloe_s 'model.input_size=[" in said
    assert "gate.max_latency_ms=12" in said and "backend.openvino.threads=2" in said
    assert machine.command == ["detpress", *given]


def test_each_engine_has_random_weights_one_variant_and_a_quick_timing(machine: Machine) -> None:
    assert main(["size", "target.latency_ms=12", MODELS, "target.sizes=[320,256]", "target.precision=fp32"]) == 0
    assert machine.target == Target(12.0, precision="fp32")
    for config in machine.configs:
        assert config.model.random_weights and config.data.kind == "shapes" and not config.tracking.enabled
        assert config.backend["onnxruntime"].variants == ["fp32"] and list(config.backend) == ["onnxruntime"]
        assert (config.compression.method, config.agreement.images, config.latency.runs) == ("ptq", 0, 200)
    assert {tuple(config.model.input_size) for config in machine.configs} <= {(256, 256), (320, 320)}


def test_where_nothing_reaches_it_one_line_says_so(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.ns = 1.0
    assert main(["size", "target.latency_ms=1", MODELS, "target.mode=end2end"]) == 0
    told = capsys.readouterr().out
    assert "Nothing reaches 1 ms in INT8 on onnxruntime: the smallest, ppyoloe_tiny at 256 x 256, takes" in told
    rows = [line.split() for line in told.splitlines()[1:3]]
    assert [row[0] for row in rows] == ["ppyoloe_tiny", "ppyoloe_s"] and {row[-1] for row in rows} == {"no"}
    assert "Next:" not in told
    assert len(machine.configs) == 1


def test_a_disturbed_timing_is_marked(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    machine.verdict = "invalid: other processes took 30 % of the CPU"
    assert main(["size", "target.latency_ms=12", MODELS, "target.sizes=320"]) == 0
    told = capsys.readouterr().out
    assert "* timing disturbed" in told and "other processes took 30 % of the CPU" in " ".join(told.split())
    assert "*  " in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "target.latency_ms is not given"),
        (("target.latency_ms=fast",), "target.latency_ms=fast does not fit"),
        (("target.latency_ms=-3",), "target.latency_ms=-3 does not fit"),
        (("target.latency_ms=nan",), "target.latency_ms=nan does not fit"),
        (("target.latency_ms=20", "target.engines=1"), "target.engines=1 does not fit"),
        (("target.latency_ms=20", "target.latancy=3"), "target.latancy: there is no such key"),
        (("target.latency_ms=20", "target.sizes=300"), "multiples of 32"),
        (("target.latency_ms=20", "target.models=ppyoloe_z"), "there is no model ppyoloe_z; did you mean"),
        (("target.latency_ms=20", "target.precision=int9"), "there is no such variant"),
        (("target.latency_ms=20", "target.mode=wall"), "target.mode=wall does not fit"),
        (("target.latency_ms=20", "target.backend=onnx"), "backend=onnx: there is no such choice"),
        (("target.latency_ms=20", MODELS, "compression.imges=3"), "compression.imges"),
    ],
)
def test_what_does_not_fit_is_one_line(
    words: tuple[str, ...], said: str, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["size", *words]) == 2
    told = capsys.readouterr().err.strip()
    assert said in told and machine.configs == []
