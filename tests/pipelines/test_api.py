"""``import detpress``: what its functions return and raise, and that they leave the caller's process as it was."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import detpress
import pipelines.compress
import pipelines.finetune
from pipelines import api, cli
from pipelines.runs.outcome import Outcome
from pipelines.runs.watching import Progress
from stages.errors import ExitCode
from tests.conftest import ROOT
from tests.pipelines import small
from tests.pipelines.system.test_caller import state

# MLflow's own tables, under the SQLAlchemy that its pins allow.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated:DeprecationWarning")

PAGE = ROOT / "docs" / "api.md"


def overrides(root: Path) -> list[str]:
    """`small.small_config` in words."""
    return [
        "model.name=blocks", f"model.input_size=[{small.SIZE},{small.SIZE}]", "model.mean=[0,0,0]",
        "model.std=[1,1,1]", f"model.weights={root}/model.pdparams", "model.labels=[block]", "data=coco_folder",
        f"data.root={root}", "compression=none", "backend=[onnxruntime]", "backend.onnxruntime.tune=false",
        "latency.warmup=0", "latency.runs=10", "latency.rounds=2", "latency.warmup_seconds=0", "latency.images=2",
        "accuracy.draws=100", "accuracy.worst=0", f"run.artifacts={root}/artifacts",
        f"tracking.folder={root}/artifacts/mlflow",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("api")
    small.draw(folder, "train", 4, seed=1)
    small.draw(folder, "val", 4, seed=2)
    small.weights(folder, 0.0, "first")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines.compress, "compress_graph", small.small_graph)
        yield folder


class Made:
    """A run of the small detector, and what was seen of it."""

    def __init__(self, root: Path) -> None:
        self.seen: list[Progress] = []
        before, printed = state(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            self.report = detpress.compress(overrides(root), progress=self.seen.append)
        self.printed, self.before, self.after = printed.getvalue(), before, state()


@pytest.fixture(scope="module")
def made(root: Path) -> Made:
    return Made(root)


def test_the_names_are_those_of_the_api() -> None:
    assert detpress.compress is api.compress and detpress.ConfigError is api.ConfigError
    assert set(api.__all__) <= set(dir(detpress)) and detpress.main.__doc__
    with pytest.raises(AttributeError, match="nonsense"):
        _ = detpress.nonsense


@pytest.mark.slow
def test_a_run_prints_nothing_tells_its_progress_and_leaves_no_trace_in_the_process(made: Made) -> None:
    assert made.printed == ""
    assert made.after == made.before
    assert made.seen[0].state == "begins" and made.seen[-1].state == "done" and made.seen[-1].stage == "report"
    assert {one.stage for one in made.seen} >= {"build.onnxruntime.fp32", "latency.onnxruntime"}
    assert all(1 <= one.number <= one.stages for one in made.seen)
    assert [note for note in made.report.notes if not note.startswith("some timings were disturbed")] == []


@pytest.mark.slow
def test_a_report_has_figures_with_what_is_known_of_them(made: Made) -> None:
    report = made.report
    row = report.content["rows"][0]
    engine = report.engine("onnxruntime", "fp32")
    assert engine.row == row and [one.precision for one in report.engines] == [
        r["precision"] for r in report.content["rows"]
    ]
    assert engine.runtime is not None and row["latency"]["runtime"] is not None
    assert (engine.runtime.value, engine.runtime.unit) == (row["latency"]["runtime"]["median_ms"], "ms")
    assert engine.runtime.verdict == row["validity"]["runtime"] and engine.runtime.verdict is not None
    assert engine.map is not None and engine.map.value == row["map"] and engine.speedup is None
    assert (
        report.passed
        and report.exit_code == 0
        and json.loads(report.path.read_text())["rows"] == [one.row for one in report.engines]
    )
    assert "Use onnxruntime" in str(report) and "Use onnxruntime" in report._repr_html_()
    assert "onnxruntime" in str(report.best())
    with pytest.raises(detpress.InputError, match="it has onnxruntime fp32"):
        report.engine("openvino")
    again = detpress.report("latest", report.path.parents[2])
    assert (again.path, again.content, str(again)) == (report.path, report.content, str(report))


@pytest.mark.slow
def test_the_best_engine_is_packed_and_finds_what_the_command_finds(
    made: Made, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = made.report.best().bundle(tmp_path / "mine.zip", golden=2)
    assert target == tmp_path / "mine.zip" and capsys.readouterr() == ("", "")
    image = next((root / "val").iterdir())
    found = detpress.predict(target, [image], threshold=0.5)
    assert cli.main(["predict", str(target), str(image), "--threshold=0.5", "--no-pictures"]) == 0
    assert json.loads(capsys.readouterr().out) == found[0] and found[0]["detections"]
    assert made.report.best().predict([image], threshold=0.5) == found
    with pytest.raises(detpress.InputError, match="golden=0 does not fit"):
        made.report.best().bundle(golden=0)
    with pytest.raises(detpress.InputError, match="threshold=2 does not fit"):
        detpress.predict(target, [image], threshold=2)


@pytest.mark.slow
def test_a_gate_that_fails_is_said_and_not_raised(made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The detector has no engine that a gate looks at, so the record of one is written into its report."""
    gate = {"gate": "gate.min_speedup", "backend": "onnxruntime", "precision": "int8", "limit": 2.0, "value": 1.5,
            "of": "lower bound", "margin": -0.5, "verdict": "fail", "reason": None}  # fmt: skip
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({**made.report.content, "gates": [gate]}))
    outcome = Outcome(ExitCode.GATE_FAILED, folder / "report.json")
    monkeypatch.setattr(pipelines.compress, "run_compress", lambda config, *, command: outcome)
    report = detpress.compress(["experiment=demo"])
    assert not report.passed and report.exit_code == ExitCode.GATE_FAILED
    assert [one["verdict"] for one in report.gates] == ["fail"] and "1 of 1 failed" in str(report)


@pytest.mark.slow
def test_a_part_that_fails_is_raised_and_the_report_of_the_rest_is_named(root: Path) -> None:
    words = [word for word in overrides(root) if not word.startswith("backend=")]
    with pytest.raises(detpress.StageError) as raised:
        detpress.compress([*words, "backend=[onnxruntime,fastdeploy]", "run.require_all_backends=true"])
    path = Path(raised.value.message.rpartition(" ")[2])
    assert path.is_file() and any("fastdeploy" in line for line in raised.value.details)
    assert detpress.report(str(path.parent)).engine("onnxruntime", "fp32").status == "ok"


@pytest.mark.slow
def test_a_function_that_raises_is_noted_and_one_that_interrupts_ends_the_run_in_order(root: Path) -> None:
    def broken(progress: Progress) -> None:
        raise ValueError("mine")

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    report = detpress.compress(overrides(root), progress=broken)
    assert any("ValueError: mine" in note for note in report.notes)
    before = state()
    with pytest.raises(KeyboardInterrupt):
        detpress.compress(overrides(root), progress=stop)
    assert state() == before
    newest = max((root / "artifacts" / "runs").glob("*/run.json"), key=lambda file: file.stat().st_mtime_ns)
    assert json.loads(newest.read_text())["status"] == "KILLED"


@pytest.mark.slow
def test_the_page_s_examples_run(
    made: Made, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Word for word, but for the experiment: the small detector stands for the demo."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3 and len(blocks[0].splitlines()) <= 6 and '["experiment=demo"]' in blocks[0]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "image.png").write_bytes(next((root / "val").iterdir()).read_bytes())
    names: dict[str, Any] = {"small": overrides(root)}
    said = []
    for block in blocks:
        exec(block.replace('"experiment=demo"', "*small"), names)
        said.append(capsys.readouterr())
    assert "Use onnxruntime" in said[0].out and ".zip" in said[0].out and "cached" in said[0].err
    assert " ms" in said[1].out and "block [" in said[1].out
    assert said[2].out.startswith("the config has a problem:\n  - compresion.steps: there is no such key")


def test_a_program_of_a_few_lines_plans_the_demo_and_is_told_what_is_wrong(tmp_path: Path) -> None:
    """In a process of its own, which prints nothing else."""
    lines = """
import detpress
plan = detpress.plan(["experiment=demo"])
print(plan.unchanged, [step.node.id for step in plan.steps if step.node.backend == "onnxruntime"][0])
try: detpress.compress(["experiment=demo", "compression.steps=-1"])
except detpress.ConfigError as error: print(error)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    first, *rest = done.stdout.splitlines()
    assert first == "False build.onnxruntime.fp32" and rest[0] == "the config has a problem:"
    assert done.stderr == "" and list(tmp_path.iterdir()) == []


BAD: dict[str, tuple[list[str], Callable[[list[str]], object]]] = {
    "unknown keys": (["compress", "compresion.steps=3", "seeed=1", "model.random_weights=true"], api.compress),
    "a value of another type": (["compress", "experiment=demo", "compression.steps=many"], api.compress),
    "a value out of range": (["plan", "experiment=demo", "compression.steps=-1"], api.plan),
    "no weights": (["plan"], api.plan),
    "weights that are not there": (
        ["compress", "experiment=demo", "model.weights=there/is/none.pdparams"],
        api.compress,
    ),
    "a choice that is none": (["compress", "experiment=dmo"], api.compress),
    "a folder that is none": (["compress", "--config-dir=none", "experiment=demo"], api.compress),
    "a flag that is none": (["finetune", "--nonsense"], api.finetune),
    "two files to write": (["finetune", "out=a", "out=b"], api.finetune),
    "a retraining without a registry": (["retrain", "experiment=demo", "tracking=none"], api.retrain),
    "a retraining with a wrong key": (["retrain", "experimnt=demo"], api.retrain),
    "a run that is none": (["report", "no-such-run"], lambda words: api.report(*words)),
    "a bundle that is none": (["predict", "none.zip", "a.png"], lambda words: api.predict(words[0], words[1:])),
    "a file that is no ONNX": (["predict", "bad.onnx", "a.png"], lambda words: api.predict(words[0], words[1:])),
    "a name that no file can have": (["predict", f"{'x' * 5000}.zip", "a"], lambda w: api.predict(w[0], w[1:])),
}


@pytest.mark.parametrize("case", BAD)
def test_an_exception_has_the_words_of_the_command_line(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "bad.onnx").write_bytes(b"nonsense")
    words, function = BAD[case]
    code = cli.main(words)
    told = capsys.readouterr()
    with pytest.raises(detpress.DetpressError) as raised:
        function(words[1:])
    assert told.err == f"error: {raised.value}\n" and code == raised.value.exit_code == ExitCode.WRONG_INPUT
    assert capsys.readouterr() == ("", "")
    if words[0] == "retrain":
        outcomes = [
            json.loads(line) for line in (tmp_path / "artifacts/retrain/history.jsonl").read_text().splitlines()
        ]
        assert [one["outcome"] for one in outcomes] == ["refused", "refused"]


@pytest.mark.parametrize("word", ["-m", "--multirun", "--cfg=job", "--help", "hydra.mode=MULTIRUN", "--help=seed"])
def test_what_is_for_the_command_line_is_refused(word: str) -> None:
    with pytest.raises(detpress.InputError, match="is for the command line"):
        detpress.compress(["experiment=demo", word])


def test_a_training_gets_its_file_and_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def run(config: Any, out: str | None, *, command: list[str]) -> Outcome:
        asked.append((config.finetune.steps, out, command[-1]))
        os.environ["DETPRESS_TEST_LEFT"] = "1"
        return Outcome(0, Path(str(out)))

    monkeypatch.setattr(pipelines.finetune, "run_finetune", run)
    trained = detpress.finetune(["experiment=demo", "finetune.steps=7", "out=mine.pdparams"])
    assert trained.checkpoint == Path("mine.pdparams") and asked == [(7, "mine.pdparams", "out=mine.pdparams")]
    assert "DETPRESS_TEST_LEFT" not in os.environ and capsys.readouterr() == ("", "")


def test_a_plan_is_the_command_s(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ["experiment=demo", f"run.artifacts={tmp_path}"]
    plan = detpress.plan(words)
    cli.main(["plan", "--json", *words])
    told = json.loads(capsys.readouterr().out)
    assert [stage["id"] for stage in told["stages"]] == [step.node.id for step in plan.steps]
    assert (told["missing"], told["notes"], told["unchanged"]) == (plan.missing, plan.notes, plan.unchanged)


@pytest.mark.parametrize("first", ["", "import pipelines; "])
def test_a_folder_of_the_caller_s_with_the_name_of_ours_is_not_taken(tmp_path: Path, first: str) -> None:
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "__init__.py").write_text("theirs = True\n")
    lines = f"{first}import sys, detpress; path = list(sys.path); print(detpress.plan.__module__, sys.path == path)"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", lines], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    if first:
        assert done.returncode == 1 and "detpress needs its own package 'pipelines'" in done.stderr
    else:
        assert done.stdout == "pipelines.api True\n", done.stderr
