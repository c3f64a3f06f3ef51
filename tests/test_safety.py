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
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "torch.load", "joblib.load", "yaml.load", "yaml.unsafe_load"),
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


def test_yaml_is_read_in_the_one_place_that_bounds_it() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for name, _ in calls(path)
        if re.search(r"yaml\.(\w*load\w*|compose\w*|parse|scan)$", name) and not name.startswith("yaml_text.")
    }
    assert found == set(), "use stages.outside.yaml_text.parse"


def test_archives_are_unpacked_in_the_one_place_that_checks_them() -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in SOURCES
        for name, _ in calls(path)
        if name.rpartition(".")[2] in ("extractall", "extract", "unpack_archive")
    }
    assert found <= {"stages/bundle/contents.py"}


MOVES = {
    "stages/outside/files.py": "the place",
    "pipelines/registry/champion.py": "a folder of the project's own",
    "pipelines/runs/publish.py": "the link `latest`",
    "pipelines/scheduling/records.py": "a damaged record, to a name beside it",
    "pipelines/store/local.py": "folders of the store",
    "pipelines/store/remote.py": "folders of the store",
    "pipelines/system/database.py": "a half database, to a name beside it",
}


def test_files_are_put_into_their_places_where_a_device_is_not_replaced() -> None:
    """Who may do anything replaces a device by a rename; `stages.outside.files.put` looks what is there."""
    found = set()
    for path in SOURCES:
        for name, call in calls(path):
            last = name.rpartition(".")[2]
            renames = last in ("rename", "renames") or name in ("os.replace", "shutil.move")
            # Of a path; that of a text has two arguments, those of dataclasses and times have names.
            if renames or (last == "replace" and len(call.args) == 1 and not call.keywords):
                found.add(str(path.relative_to(ROOT)))
    assert found == set(MOVES), "use stages.outside.files.put or pipelines.system.files"


def test_filters_of_mlflow_are_written_in_the_one_place_that_quotes_their_values() -> None:
    fields = r"\b(?:tags?|attributes?|params?|metrics?)\.[\w.`]+\s*(?:=|!=|<|>|i?like\b)"
    field = re.compile(rf"{fields}|(?<![\w.-])name\s*=\s*['\"{{]", re.IGNORECASE)
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


NAMED_OUTSIDE = {
    "matches",
    "picture",
    "file_name",
    "file",
    "files",
    "path",
    "main",
    "weights",
    "attempt",
    "entry",
    "run_id",
    "bundle_sha256",
}
"""Keys of records, label files and tags under which somebody else may have written the name of a file or a folder."""
BORDER = "stages/outside/names.py"


def joins(path: Path) -> Iterator[tuple[int, str]]:
    """Where a file joins a name from outside to a folder: an element of a record, or what was bound to one before."""
    tree = ast.parse(path.read_text())
    for scope in [n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]:
        constants = {node.value for node in ast.walk(scope) if isinstance(node, ast.Constant)}
        bound = set[str]()
        for _ in range(3 if constants & NAMED_OUTSIDE else 0):  # what is bound to something that is bound
            for node in ast.walk(scope):
                bound |= {name.id for name, value in bindings(node) if names_a_file(value, bound)}
        for node in ast.walk(scope):
            if any(names_a_file(part, bound) for part in joined(node)):
                yield getattr(node, "lineno", 0), ast.unparse(node)


def joined(node: ast.AST) -> list[ast.expr]:
    """What a ``/``, ``Path(...)``, ``joinpath`` or ``os.path.join`` adds to a folder; nothing for other nodes."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        return [node.right]
    name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
    is_join = name in ("os.path.join", "Path", "PurePath") or name.endswith(".joinpath")
    return node.args if isinstance(node, ast.Call) and is_join else []


def bindings(node: ast.AST) -> Iterator[tuple[ast.Name, ast.expr]]:
    """Each name that a statement or a comprehension binds, with the value (or what it is one of)."""
    if isinstance(node, ast.Assign):
        pairs = [(target, node.value) for target in node.targets]
    elif isinstance(node, (ast.For, ast.comprehension)):
        pairs = [(node.target, node.iter)]
    elif isinstance(node, (ast.NamedExpr, ast.AnnAssign)) and node.value is not None:
        pairs = [(node.target, node.value)]
    else:
        return
    for target, value in pairs:
        yield from ((name, value) for name in ast.walk(target) if isinstance(name, ast.Name))


def names_a_file(node: ast.AST, bound: set[str]) -> bool:
    """Whether an expression takes such a key of something. What a function of ours returned was looked at by it."""
    if isinstance(node, ast.Name):
        return node.id in bound
    if isinstance(node, ast.Subscript):
        key = node.slice
        return names_a_file(node.value, bound) or (isinstance(key, ast.Constant) and key.value in NAMED_OUTSIDE)
    if isinstance(node, ast.Call):
        of = node.func
        if isinstance(of, ast.Name) and of.id in ("str", "sorted", "list", "dict", "set", "Path"):
            return any(names_a_file(given, bound) for given in node.args)
        if not isinstance(of, ast.Attribute):
            return False
        key = node.args[0] if node.args else None
        if of.attr == "get" and isinstance(key, ast.Constant) and key.value in NAMED_OUTSIDE:
            return True
        return of.attr in ("items", "keys", "values", "strip", "removeprefix") and names_a_file(of.value, bound)
    if isinstance(node, (ast.JoinedStr, ast.FormattedValue, ast.ListComp, ast.GeneratorExp, ast.BoolOp, ast.BinOp)):
        return any(names_a_file(part, bound) for part in ast.iter_child_nodes(node))
    return isinstance(node, ast.comprehension) and names_a_file(node.iter, bound)


def test_names_from_outside_are_joined_in_the_one_place_that_checks_them() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {text}"
        for path in SOURCES
        if path.relative_to(ROOT).as_posix() != BORDER
        for line, text in joins(path)
    ]
    assert found == [], f"join it with a function of {BORDER}"


READ_PLAINLY = {
    "pipelines/scheduling/tracking.py": "what its own parent sends it",
    "pipelines/tracking/delivery.py": "what its own parent sends it",
    "pipelines/commands/ui.py": "what MLflow's server on this machine answers",
    "pipelines/api.py": "the record of the retraining that this call has just made",
    "pipelines/runs/index.py": "a cache of its own, of which it checks the digest and each line",
    "pipelines/execution/interpreter.py": "what a Python that is started here prints",
    "pipelines/sensitivity.py": "a stage's result, checked by its digest",
    "pipelines/registry/register.py": "a stage's result, copied by this run",
    "pipelines/retraining/challenge.py": "a stage's result, checked by its digest",
    "pipelines/retraining/head_to_head.py": "a stage's result, checked by its digest",
}
"""Files of `pipelines/` that read JSON without `stages/outside/records.py` -> which."""


def test_records_are_read_by_the_one_reader_that_checks_them() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, _ in calls(path)
        if path.is_relative_to(ROOT / "pipelines") and name in ("json.load", "json.loads")
    }
    assert found == set(READ_PLAINLY)


@pytest.mark.parametrize(
    "text",
    [
        "root / image['file_name']",
        "root / str(image.get('file_name'))",
        "root / f'{record[\"attempt\"]}.json'",
        "Path(entry['path'])",
        "root.joinpath(golden['file'])",
        "[root / file for file in record['artifact']['files']]",
        "{root / 'files' / file: d for file, d in record['files'].items()}",
        "os.path.join(root, state['run_id'])",
    ],
)
def test_the_rule_sees_what_it_is_for(text: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.py"
    file.write_text(f"def f(root, image, record, entry, golden, state):\n    return {text}\n")
    assert len(list(joins(file))) == 1
    file.write_text("def f(root, image):\n    name = image['file_name']\n    other = name\n    return root / other\n")
    assert len(list(joins(file))) == 1
    file.write_text("def f(root, image):\n    path = names.image_path(root, image['file'])\n    return root / path\n")
    assert list(joins(file)) == []


def test_the_name_of_a_data_set_leads_to_no_other_folder(tmp_path: Path) -> None:
    from pipelines.config.schema import PipelineConfig
    from pipelines.execution.events import NullObserver
    from pipelines.runs.run import open_run

    for name in ("../../x", "/x", ".."):
        config = PipelineConfig()
        config.run.artifacts, config.data.name, config.model.name = str(tmp_path / "a" / "b"), name, name
        with open_run(config, pipeline="compress", command=["detpress"], observers=[NullObserver()]) as run:
            assert run.info.run_dir.resolve().parent == tmp_path / "a" / "b" / "runs"
            run.save_state("FINISHED")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]


MESSAGES = {
    "pipelines/cli.py": "the name of a signal",
    "pipelines/runs/watching.py": "the lines of a run, for a caller from Python who asked for them",
    "pipelines/system/output.py": "`say` itself, and why the system does not take any more",
    "pipelines/system/failures.py": "a traceback, for --debug",
}
"""Files of `pipelines/` that print to standard error themselves -> what."""


def test_messages_are_printed_by_the_functions_that_keep_them_on_one_line() -> None:
    printing = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, call in calls(path)
        if path.is_relative_to(ROOT / "pipelines")
        and (name == "sys.stderr.write" or any(ast.unparse(k.value) == "sys.stderr" for k in call.keywords))
    }
    assert printing == set(MESSAGES), "use pipelines.system.output.say"
    parsers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for name, _ in calls(path)
        if path.is_relative_to(ROOT / "pipelines") and name.rpartition(".")[2] == "ArgumentParser"
    }
    assert parsers == set(), "use pipelines.system.arguments.Parser"


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
