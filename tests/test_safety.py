"""What no line of the project may do with data that came from elsewhere; and secrets that must not be shown."""

from __future__ import annotations

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipelines.cli import main
from stages.bundle.contents import unpack
from stages.errors import InputError
from tests.conftest import ROOT

SOURCES = sorted(p for folder in ("pipelines", "stages", "conf") for p in (ROOT / folder).rglob("*.py"))
RUNS_WHAT_IT_READS = {
    *("eval", "exec", "compile", "os.system", "os.popen", "marshal.load", "marshal.loads", "shelve.open"),
    *("pickle.load", "pickle.loads", "torch.load", "joblib.load", "yaml.load", "yaml.unsafe_load"),
    *("paddle.load", "cloudpickle.load", "cloudpickle.loads", "dill.load", "dill.loads"),
}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Each call of a file with the dotted name of what is called."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_nothing_that_is_read_is_run() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{call.lineno} {name}"
        for path in SOURCES
        for name, call in calls(path)
        if name in RUNS_WHAT_IT_READS
        or any(k.arg in ("shell", "allow_pickle") and ast.unparse(k.value) != "False" for k in call.keywords)
    ]
    assert found == []


def test_archives_are_unpacked_in_the_one_place_that_checks_them() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for name, _ in calls(path)
        if name.rpartition(".")[2] in ("extractall", "extract", "unpack_archive")
    }
    assert found <= {"stages/bundle/contents.py"}


def test_filters_of_mlflow_are_written_in_the_one_place_that_quotes_their_values() -> None:
    fields = r"\b(?:tags?|attributes?|params?|metrics?)\.[\w.`]+\s*(?:=|!=|<|>|i?like\b)"
    field = re.compile(rf"{fields}|(?<![\w.])name\s*=\s*['\"{{]", re.IGNORECASE)
    found = []
    for path in SOURCES:
        if path == ROOT / "pipelines/system/slug.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            texts = [node] if isinstance(node, ast.JoinedStr) else []
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts = [node]
            found += [f"{path.relative_to(ROOT)}:{t.lineno}" for t in texts if field.search(ast.unparse(t)[1:])]
        for name, call in calls(path):
            given = [k.value for k in call.keywords if k.arg == "filter_string"]
            asked = name.rpartition(".")[2]
            if asked in ("search_model_versions", "search_registered_models"):
                given += call.args[:1]
            elif asked in ("search_runs", "search_logged_models", "search_traces"):
                given += call.args[1:2]
            found += [
                f"{path.relative_to(ROOT)}:{call.lineno} {ast.unparse(value)}"
                for value in given
                if not ast.unparse(value).startswith("matching(") and ast.unparse(value) != "wanted"
            ]
    assert found == []


def test_what_listens_names_an_interface_and_by_default_this_machine() -> None:
    """No ``0.0.0.0`` as anybody's default: it may only be recognised."""
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        for line in path.read_text().splitlines()
        if "0.0.0.0" in line and not line.strip().startswith(("if host in", '"""', "#"))
    ]
    assert found == []


@pytest.mark.parametrize("name", ["../evil", "/tmp/evil", "a/../../evil", "..\\evil"])
def test_a_bundle_cannot_write_beside_its_folder(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "slip.zip"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr(name, "x")
    with pytest.raises(InputError, match="outside of its folder: refused"):
        unpack(archive, tmp_path / "in" / "here")
    assert [path.name for path in tmp_path.rglob("*")] == ["slip.zip"]


def test_a_link_in_a_bundle_is_not_followed(tmp_path: Path) -> None:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = 0o120777 << 16  # a symbolic link, to whoever honours that
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as stream:
        stream.writestr(entry, "/etc")
        stream.writestr("bundle.json", "{}")
        stream.writestr("SHA256SUMS", "")
    with pytest.raises(InputError):
        unpack(tmp_path / "link.zip", tmp_path / "out")
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


SECRETS = [
    "tracking.uri=http://anna:hunter2@h.test",
    "'schedule.store=postgresql+psycopg://me:hunter2@db/x'",
    "schedule.notify.webhook=https://hooks.test/services/hunter2",
]


def test_the_printed_config_shows_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    given = [text.strip("'") for text in SECRETS]
    assert main(["compress", "experiment=demo", "--cfg", "job", *given]) == 0
    said = capsys.readouterr().out
    assert "hunter2" not in said
    assert "uri: http://***@h.test" in said and "webhook: ***" in said and "steps: 60" in said


def test_a_runs_config_has_no_secret_and_no_schedule(tmp_path: Path) -> None:
    from pipelines.config.schema import PipelineConfig
    from pipelines.execution.events import NullObserver
    from pipelines.runs.run import open_run

    config = PipelineConfig()
    config.run.artifacts, config.tracking.uri = str(tmp_path), "http://anna:hunter2@h.test"
    config.schedule.notify.webhook = "https://hooks.test/hunter2"
    command = ["detpress", "compress", *[text.strip("'") for text in SECRETS]]
    with open_run(config, pipeline="compress", command=command, observers=[NullObserver()]) as run:
        run.save_state("FINISHED")
    for path in (tmp_path / "runs").rglob("*"):
        assert not path.is_file() or "hunter2" not in path.read_text(), path
    state = json.loads((run.info.run_dir / "run.json").read_text())
    assert "schedule.notify.webhook=***" in state["command"]
    assert "schedule" not in run.info.config
