"""The command line as a user meets it: exit codes, messages, what lands on stdout, and nothing left behind."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipelines.cli import COMMANDS, main
from stages.errors import ExitCode
from tests.conftest import ROOT

STUB = """
import sys
from pathlib import Path
import pipelines.compress, pipelines.finetune
from pipelines.runs.outcome import Outcome
from stages.errors import StageError

def run_compress(config, *, command):
    print("ran", config.seed, " ".join(command))
    {body}
    return Outcome({code}, Path("artifacts/runs/x/report.json"))

def run_finetune(config, out, *, command):
    print("trained", config.finetune.steps, out)
    return Outcome(0, Path(out))

pipelines.compress.run_compress = run_compress
pipelines.finetune.run_finetune = run_finetune
from pipelines.cli import main
sys.exit(main(sys.argv[1:]))
"""


def run(folder: Path, *arguments: str, script: str | None = None) -> subprocess.CompletedProcess[str]:
    start = ["-m", "pipelines.cli"] if script is None else ["-c", script]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "200"}
    environment.pop("HYDRA_FULL_ERROR", None)
    return subprocess.run(
        [sys.executable, *start, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def stub(body: str = "pass", code: int = 0) -> str:
    return STUB.format(body=body, code=code)


RUNS = "model.random_weights=true"


def test_help_names_every_command(tmp_path: Path) -> None:
    done = run(tmp_path, "--help")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if re.match("  [a-z-]+  ", line)] == list(COMMANDS)
    assert max(map(len, lines)) <= 80
    for word in ("Exit codes", "detpress compress experiment=demo"):
        assert word in done.stdout
    without = run(tmp_path)
    assert (without.returncode, without.stdout) == (2, done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_row_of_the_table_names_a_module_with_the_same_signature(name: str) -> None:
    module = importlib.import_module(COMMANDS[name].module)
    assert module.__doc__ and f"``detpress {name}" in module.__doc__
    assert str(inspect.signature(module.main)) == "(arguments: 'Sequence[str]', debug: 'bool' = False) -> 'int'"


def test_the_table_has_every_command_module() -> None:
    """Whatever lies in the folder and has a `main` of that form is reachable, or is a part of one that is."""
    parts = {
        "__init__",
        "completion_words",
        "hydra_command",
        "registry_command",
        "schedule_changes",
        "schedule_views",
        "ui_auth",
        "unchanged",
    }
    assert {path.stem for path in (ROOT / "pipelines" / "commands").glob("*.py")} - parts == {
        command.module.rpartition(".")[2] for command in COMMANDS.values()
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_answers_help(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"detpress {name}" in capsys.readouterr().out


def test_the_docs_list_each_exit_code() -> None:
    table = re.findall(r"^\| ([0-9, ]+) \|", (ROOT / "docs" / "orchestration.md").read_text(), re.MULTILINE)
    codes = {int(code) for row in table for code in row.split(",")}
    assert codes == set(ExitCode) - {ExitCode.KILLED}  # no command ends with that one


@pytest.mark.parametrize("command", ["compress", "finetune", "plan", "retrain"])
def test_the_help_of_a_command_lists_groups_keys_and_examples(tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, "--help")
    assert done.returncode == 0, done.stderr
    for word in (f"detpress {command} [", "ppyoloe_plus_t", "coco_folder", "data.root=DIR", "Examples", "Exit codes"):
        assert word in done.stdout
    assert "_ppyoloe" not in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 120


def test_version(tmp_path: Path) -> None:
    assert run(tmp_path, "--version").stdout == "detpress 0.1.0\n"


def test_hydras_views_of_the_config_work(tmp_path: Path) -> None:
    shown = run(tmp_path, "compress", "--cfg", "job", "experiment=demo", "seed=3")
    assert shown.returncode == 0, shown.stderr
    config = yaml.safe_load(shown.stdout)
    assert (config["seed"], config["model"]["name"]) == (3, "ppyoloe_tiny")
    assert config["model"]["weights"] == "${demo:ppyoloe_tiny_shapes.pdparams}"
    resolved = run(tmp_path, "compress", "--cfg", "job", "--resolve", "experiment=demo")
    assert yaml.safe_load(resolved.stdout)["model"]["weights"].endswith("artifacts/demo/ppyoloe_tiny_shapes.pdparams")
    info = run(tmp_path, "compress", "experiment=demo", "--info", "defaults")
    assert info.returncode == 0 and "experiment/demo" in info.stdout
    assert list(tmp_path.iterdir()) == []


def test_config_errors_are_one_message_without_traceback(tmp_path: Path) -> None:
    done = run(tmp_path, "compress", "compresion.steps=3", "compression.lr=fast", RUNS)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: the config has 2 problems:\n"
        "  - compression.lr: 'fast' does not fit; it must be a number\n"
        "  - compresion.steps: there is no such key; did you mean compression.steps?\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_views_and_help_refuse_wrong_keys_too(tmp_path: Path) -> None:
    for flags in (["--cfg", "job"], ["--help"], ["--info"]):
        done = run(tmp_path, "compress", *flags, "compression.stepz=3")
        assert done.returncode == 2
        assert "did you mean compression.steps?" in done.stderr and "Traceback" not in done.stderr


def test_unknown_commands_and_flags(tmp_path: Path) -> None:
    done = run(tmp_path, "compres")
    assert done.returncode == 2
    told = "error: compres: there is no such command; did you mean compress? (there are compress, plan, finetune, "
    assert done.stderr.startswith(told) and done.stderr.endswith(")\n")
    done = run(tmp_path, "compress", "--fast")
    assert (done.returncode, done.stderr) == (
        2,
        "error: unrecognized arguments: --fast; see detpress compress --help\n",
    )


def test_the_last_line_is_the_path_and_the_code_is_the_pipelines(tmp_path: Path) -> None:
    done = run(tmp_path, "compress", "seed=5", RUNS, script=stub(code=4))
    assert done.returncode == 4, done.stderr
    lines = done.stdout.splitlines()
    assert lines == [f"ran 5 detpress compress seed=5 {RUNS}", "artifacts/runs/x/report.json"]
    assert list(tmp_path.iterdir()) == []  # Hydra left nothing behind


def test_flags_may_stand_anywhere(tmp_path: Path) -> None:
    done = run(tmp_path, "compress", RUNS, "-m", "seed=1,2", script=stub())
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("ran")] == [
        f"ran {seed} detpress compress model.random_weights=True seed={seed}" for seed in (1, 2)
    ]
    assert done.stdout.splitlines()[-1] == "artifacts/runs/x/report.json"
    assert [p.name for p in tmp_path.iterdir()] == ["artifacts"]


def test_a_job_that_fails_does_not_stop_the_sweep(tmp_path: Path) -> None:
    fails_once = 'if config.seed == 1: raise StageError("the first one failed; look at its log")'
    done = run(tmp_path, "compress", RUNS, "seed=1,2", "-m", script=stub(fails_once))
    assert done.returncode == 4
    assert "ran 2" in done.stdout
    assert "error: the first one failed; look at its log\n" in done.stderr and "Traceback" not in done.stderr


def test_errors_of_a_stage_are_one_line_and_tracebacks_are_for_debug(tmp_path: Path) -> None:
    fails = stub('error = StageError("export failed; see its log"); error.trace = "its lines\\n"; raise error')
    done = run(tmp_path, "compress", RUNS, script=fails)
    assert (done.returncode, done.stderr) == (4, "error: export failed; see its log\n")
    done = run(tmp_path, "compress", RUNS, "--debug", script=fails)
    assert done.returncode == 4
    assert "Traceback" in done.stderr
    assert done.stderr.endswith("stage:\nits lines\nerror: export failed; see its log\n")


def test_verbose_stands_anywhere_and_is_handed_on(tmp_path: Path) -> None:
    told = (
        'import os; from pipelines.system.output import verbose; print(verbose(), os.environ.get("DETPRESS_VERBOSE"))'
    )
    done = run(tmp_path, "compress", "--verbose", RUNS, script=stub(told))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == [f"ran 0 detpress compress {RUNS}", "True 1"]
    assert run(tmp_path, "compress", RUNS, script=stub(told)).stdout.splitlines()[1] == "False None"


def test_an_unforeseen_error_is_one_line_with_a_hint(tmp_path: Path) -> None:
    done = run(tmp_path, "compress", RUNS, script=stub("1 / 0"))
    assert done.returncode == 4
    assert done.stderr == (
        "unexpected error: ZeroDivisionError: division by zero; "
        "run it again with --debug for the traceback, and report it if the input is right\n"
    )


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_with_their_code(tmp_path: Path, number: signal.Signals, code: int) -> None:
    body = 'import time; Path("started").touch(); time.sleep(60)'
    process = subprocess.Popen(
        [sys.executable, "-c", stub(body), "compress", RUNS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert number.name in stderr and "Traceback" not in stderr


def test_finetune_takes_out_beside_the_config(tmp_path: Path) -> None:
    done = run(tmp_path, "finetune", "out=mine.pdparams", "finetune.steps=7", script=stub())
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["trained 7 mine.pdparams", "mine.pdparams"]
    done = run(tmp_path, "finetune", "out=", script=stub())
    assert (done.returncode, done.stderr) == (2, "error: out: name one file, e.g. out=mine.pdparams\n")
    done = run(tmp_path, "finetune", "out=x", "-m", "seed=1,2", script=stub())
    assert done.returncode == 2 and "sweep" in done.stderr


def test_configs_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "own.yaml").write_text(
        "# @package _global_\nseed: 11\nmodel:\n  random_weights: true\n"
    )
    done = run(tmp_path, "compress", "experiment=own", "--config-dir", "mine", script=stub())
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ran 11 detpress compress --config-dir=mine experiment=own")


def test_report_shows_a_stored_run(tmp_path: Path) -> None:
    done = run(tmp_path, "report")
    assert done.returncode == 2 and "there are no runs under" in done.stderr
    folder = tmp_path / "artifacts" / "runs" / "20260101-a"
    folder.mkdir(parents=True)
    done = run(tmp_path, "report", "20260101-b")
    assert done.returncode == 2 and "did you mean 20260101-a?" in done.stderr
    done = run(tmp_path, "report", "20260101-a")
    assert done.returncode == 2 and "has no report.md" in done.stderr
    (folder / "report.md").write_text("# Results\n")
    (folder / "report.json").write_text("{}\n")
    (folder.parent / "latest").symlink_to("20260101-a")
    assert run(tmp_path, "report").stdout == "# Results\n"
    assert run(tmp_path, "report", str(folder), "--json").stdout == "{}\n"
