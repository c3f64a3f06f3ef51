"""Exit code 5, and how the exit codes of a sweep become one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.commands import unchanged
from pipelines.commands.hydra_command import worst
from pipelines.commands.plan import Plan
from pipelines.config.digest import config_digest
from pipelines.config.schema import PipelineConfig
from pipelines.execution.plan import Step
from pipelines.execution.runner import Node
from pipelines.graph.user_inputs import with_labels
from tests.pipelines.stubs import StubOptions
from tests.pipelines.test_cli import RUNS, run, stub


def planned(*cached: bool) -> Plan:
    node = Node(id="a", stage="tests.pipelines.stubs:Stub", options=StubOptions())
    return Plan([Step(node, c) for c in cached], [], [])


def config_in(folder: Path, seed: int = 0) -> PipelineConfig:
    config = PipelineConfig(seed=seed)
    config.data.kind, config.run.artifacts = "shapes", str(folder)
    return config


def remembered(folder: Path, run_id: str, status: str, config: PipelineConfig) -> Path:
    """A run in the history; its report, if it has one."""
    made = folder / "runs" / run_id
    made.mkdir(parents=True)
    digest = config_digest(with_labels(config))
    state = {"run_id": run_id, "status": status, "pipeline": "compress", "config_digest": digest}
    (made / "run.json").write_text(json.dumps(state))
    (made / "report.json").write_text("{}")
    return made / "report.json"


def test_only_a_finished_run_of_the_same_config_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "plan_compress", lambda config: planned(True, True))
    assert unchanged.repeated(config_in(tmp_path)) is None
    report = remembered(tmp_path, "1", "FINISHED", config_in(tmp_path))
    assert unchanged.repeated(config_in(tmp_path)) == report
    assert unchanged.repeated(config_in(tmp_path, seed=1)) is None
    monkeypatch.setattr(unchanged, "plan_compress", lambda config: planned(True, False))
    assert unchanged.repeated(config_in(tmp_path)) is None
    monkeypatch.setattr(unchanged, "plan_compress", lambda config: planned(True, True))
    remembered(tmp_path, "2", "FAILED", config_in(tmp_path))
    assert unchanged.repeated(config_in(tmp_path)) is None


def test_the_command_ends_with_5_and_the_earlier_report(tmp_path: Path) -> None:
    same = "import pipelines.commands.unchanged as u\n"
    same += 'u.repeated = lambda config: Path("artifacts/runs/early/report.json")\n'
    script = stub().replace("from pipelines.cli", same + "from pipelines.cli")
    done = run(tmp_path, "compress", RUNS, "--exit-if-unchanged", script=script)
    assert (done.returncode, done.stdout) == (5, "artifacts/runs/early/report.json\n"), done.stderr
    assert done.stderr == "nothing changed since early\n"
    done = run(tmp_path, "compress", RUNS, script=script)
    assert done.returncode == 0 and done.stdout.startswith("ran 0")


@pytest.mark.parametrize(
    ("codes", "one"), [([], 0), ([0, 0], 0), ([0, 5], 0), ([5, 5], 5), ([4, 5], 4), ([2, 0, 5], 2), ([3, 4], 4)]
)
def test_the_exit_code_of_a_sweep(codes: list[int], one: int) -> None:
    assert worst(codes) == one
