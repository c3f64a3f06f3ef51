"""Entries of a store that somebody else may have written: damaged, exchanged, incomplete, or made of links."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.cli import main
from pipelines.store.entries import Key
from pipelines.store.local import Store
from stages.artifacts import Engine, Precision, hash_files
from stages.codec import to_json
from tests.attack.attempt import Case, attempt, parameters
from tests.attack.bundles import SIDECAR
from tests.attack.generate import NAMES, STRANGE, TEXTS, changed, write_json
from tests.attack.test_records import REPORT, RUN

ENGINES = {"int8": Key("build", {"precision": "int8"}), "fp32": Key("build", {"precision": "fp32"})}
MISSING = Key("export", {"precision": "int8"})
"""What the run exported is gone in all cases, so that none goes on to make a bundle."""
TARGET = f"artifacts/store/{ENGINES['int8']}"


def _engine(root: Path, files: dict[str, str], precision: str) -> Engine:
    return Engine(
        root=root, files=files, backend="onnxruntime", precision=Precision(precision), main="model.onnx",
        input_size=[64, 64], batch=1, scale_factor=False, image_input="image", scale_input="", boxes_output="boxes",
        scores_output="scores",
    )  # fmt: skip


def stored(work: Path, *, name: str | None = None) -> Path:
    """A run with two engines in the store; the folder of the entry of one. ``name``: what the run calls it."""
    store = Store(work / "artifacts")
    store.prepare()
    stages = {"export.int8": {"status": "done", "entry": str(MISSING)}}
    for precision, key in ENGINES.items():
        pending = store.begin(key)
        (pending.out / "model.onnx").write_text(precision)
        (pending.out / "infer_cfg.yml").write_bytes(SIDECAR)
        entry = store.commit(pending, _engine(pending.out, hash_files(pending.out), precision), record={})
        stages[f"build.onnxruntime.{precision}"] = {"status": "done", "entry": entry.artifact.key}
    if name is not None:
        stages["build.onnxruntime.int8"]["entry"] = name
    run = work / "artifacts" / "runs" / "1"
    write_json(run / "run.json", {**RUN, "hardware": "h", "stages": stages})
    write_json(run / "report.json", REPORT)
    write_json(run / "config.yaml", {"model": {"name": "m"}, "accuracy": {"nms": {}}})
    return work / TARGET


def record() -> dict[str, Any]:
    """``entry.json`` of that entry; the digests of its files are right."""
    files = {"model.onnx": "0" * 64, "infer_cfg.yml": "0" * 64}
    engine = _engine(Path(), files, "int8")
    key = ENGINES["int8"]
    return {
        "schema": 1, "key": key.digest, "stage": key.stage, "parts": to_json(key.parts), "artifact": to_json(engine),
        "seconds": 1.0, "warnings": [], "metrics": [["x", 1.0, None]], "run": "1", "machine": "m",
    }  # fmt: skip


def _as(content: Any) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        entry = stored(work)
        digests = hash_files(entry / "files")
        text = json.dumps(content)
        if isinstance(content, dict) and isinstance(content.get("artifact"), dict):
            text = text.replace(json.dumps(record()["artifact"]["files"]), json.dumps(digests))
        (entry / "entry.json").write_text(text)

    return prepare


def _done(change: Callable[[Path], object]) -> Callable[[Path], None]:
    return lambda work: change(stored(work)) and None


def _exchange(entry: Path) -> None:
    other = entry.parent / ENGINES["fp32"].digest
    aside = entry.with_name("aside")
    entry.rename(aside)
    other.rename(entry)
    aside.rename(other)


def _exchange_files(entry: Path) -> None:
    other = entry.parent / ENGINES["fp32"].digest / "files"
    shutil.rmtree(entry / "files")
    shutil.copytree(other, entry / "files")


def _replace(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def change(entry: Path) -> None:
        path = entry / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        make(path)

    return change


CHANGES: dict[str, Callable[[Path], object]] = {
    "folders exchanged": _exchange,
    "files exchanged": _exchange_files,
    "no record": lambda entry: (entry / "entry.json").unlink(),
    "no files": lambda entry: shutil.rmtree(entry / "files"),
    "a file gone": lambda entry: (entry / "files" / "model.onnx").unlink(),
    "a file more": lambda entry: (entry / "files" / "x").write_text("x"),
    "a file changed": lambda entry: (entry / "files" / "model.onnx").write_text("INT8"),
    "a link to a neighbour": _replace("files/model.onnx", lambda path: path.symlink_to(path.parents[6] / "x")),
    "files elsewhere": _replace("files", lambda path: path.symlink_to("/etc")),
    "a record elsewhere": _replace("entry.json", lambda path: path.symlink_to("/etc/passwd")),
    "gone": shutil.rmtree,
    "no folder": lambda entry: (shutil.rmtree(entry), entry.write_text("x")),
    "elsewhere as a whole": lambda entry: (shutil.rmtree(entry), entry.symlink_to("/etc")),
}
COMMANDS = (("bundle", "1"), ("gc", "--keep-last", "0", "--dry-run"))
CODES = {"bundle": (4,), "gc": (0, 2)}
"""A store that cannot be read is code 4, as where its disk does not answer. Only `bundle` needs the files."""


OTHER_KINDS: dict[str, dict[str, Any]] = {
    "a checkpoint": {"$type": "Checkpoint", "weights": "model.onnx"},
    "a report": {"$type": "Report"},
    "no artifact": {"$type": "Precision"},
    "a module": {"$type": "__builtins__"},
}


def _cases() -> Iterator[Case]:
    for name, fields in OTHER_KINDS.items():
        artifact = {"root": "", "key": "", "files": record()["artifact"]["files"], **fields}
        yield Case(f"bundle: an engine that is {name}", COMMANDS[0], _as({**record(), "artifact": artifact}), (4,))
    for words in COMMANDS:
        for name, change in CHANGES.items():
            yield Case(f"{words[0]}: {name}", words, _done(change), CODES[words[0]])
        for name, text in TEXTS.items():
            put = _replace("entry.json", lambda path, t=text: path.write_bytes(t))  # type: ignore[misc]
            yield Case(f"{words[0]}: entry.json {name}", words, _done(put), CODES[words[0]])
        for name, make in STRANGE.items():
            put = _replace("entry.json", make)
            yield Case(f"{words[0]}: entry.json {name}", words, _done(put), CODES[words[0]])
    for name, make in STRANGE.items():
        put = _replace("files/model.onnx", make)
        yield Case(f"bundle: a file is {name}", COMMANDS[0], _done(put), (4,))
    for i, (name, content) in enumerate(changed(record(), 120, seed=31)):
        words = COMMANDS[0] if i % 4 else COMMANDS[1]
        yield Case(f"{words[0]}: entry.json {name}", words, _as(content), CODES[words[0]])
    for i, name in enumerate(
        (*NAMES, "build/../../x", "build//x", "/etc/passwd", "build/.tmp", "../store/build/x", "a/b/c")
    ):
        words = COMMANDS[i % 2]
        codes = (2, 4) if words[0] == "bundle" else (0, 2)
        yield Case(
            f"{words[0]}: an entry called {ascii(name)[:20]}",
            words,
            lambda w, n=name: stored(w, name=n) and None,
            codes,
        )  # type: ignore[misc]


def cases() -> Iterator[Case]:
    for case in _cases():
        writes = ("artifacts/store/.locks/*", "artifacts/work/*", "artifacts/store/.tmp/*")
        yield dataclasses.replace(case, writes=writes if case.words[0] == "bundle" else ())


CASES = list(cases())


@pytest.mark.parametrize("case", parameters(CASES))
def test_an_entry(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)


@pytest.mark.parametrize("change", [_exchange, _exchange_files], ids=["folders", "files"])
def test_what_was_exchanged_is_named(
    change: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """INT8 and FP32 change places: the error is of the engine's entry, not of what the run exported."""
    attempt(
        Case("", ("bundle", "1"), _done(lambda entry: None), (4,), ("artifacts/*",)),
        _sub(tmp_path, "as-it-is"),
        monkeypatch,
    )
    attempt(Case("", ("bundle", "1"), _done(change), (4,), ("artifacts/*",)), _sub(tmp_path, "changed"), monkeypatch)
    store = Store(tmp_path / "changed" / "work" / "artifacts")
    with pytest.raises(Exception, match=ENGINES["int8"].digest):
        store.load(str(ENGINES["int8"]))


@pytest.mark.parametrize(
    "place", ["store/build", "store/stub", "store/stub/1", "store/.tmp", "work", "runs/9", "bundles"]
)
def test_gc_removes_nothing_that_a_link_leads_to(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may write into a shared folder of results cannot have others remove what they own elsewhere."""
    monkeypatch.chdir(tmp_path)
    stored(tmp_path)
    precious = tmp_path / "home" / "project" / "precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("x")
    link = tmp_path / "artifacts" / place
    if link.is_dir():
        shutil.rmtree(link)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(tmp_path / "home")
    assert main(["gc", "--keep-last", "0", "--runs"]) in (0, 2)
    assert precious.read_text() == "x"


def _sub(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name
