"""How a run is made again, and whether the same comes out."""

from __future__ import annotations

import json
from pathlib import Path
from platform import python_version
from typing import Any

import pytest

from pipelines.commands import reproduce
from pipelines.execution.interpreter import ask
from pipelines.store.entries import Key
from pipelines.store.local import Store
from pipelines.system import provenance
from stages.artifacts import ExportedModel, Precision, digest_of, hash_files
from stages.errors import InputError
from stages.processes import python
from tests.conftest import ROOT
from tests.pipelines.stored_runs import remembered
from tests.pythons import stand_in


def test_reproduce_prints_the_command_and_what_differs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    versions = {**provenance.versions(), "numpy": "0.1"}
    command = "detpress compress seed=3 'data.root=/a b'"
    here = {"commit": provenance.commit(), "hardware": provenance.hardware(), "python": "2.7"}
    remembered(tmp_path, "r", command=command, folder="/work", versions=versions, **here)
    assert reproduce.main(["r", "--artifacts", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"cd /work && {command}\n"
    lines = err.splitlines()
    assert lines[0].startswith("differs: python 2.7 then") and lines[1].startswith("differs: numpy 0.1 then")
    assert len(lines) == 2
    with pytest.raises(InputError, match="there is no run x"):
        reproduce.main(["x", "--artifacts", str(tmp_path)])


def test_another_paddle_is_named_however_much_else_differs() -> None:
    others = {f"a{number}": "1" for number in range(20)}
    lines = reproduce.differences({"versions": {**provenance.versions(), **others, "paddlepaddle": "1.8"}})
    assert lines[0].startswith("paddlepaddle 1.8 then") and lines[-1] == "13 more packages"


def test_the_python_of_the_workers_is_compared(tmp_path: Path) -> None:
    packages = {"paddlepaddle": "2.6.2", "paddledet": "2.6.0", "paddleslim": "2.6.0", "paddle2onnx": "1.3.1"}
    path = stand_in(tmp_path / "python", tmp_path / "site", **packages)
    here = {"commit": provenance.commit(), "python": python_version()}
    state: Any = {**here, "paddle_python": str(path), "versions": packages}
    assert reproduce.differences(state) == []
    state["versions"] = {**packages, "paddledet": "2.5.0"}
    assert reproduce.differences(state) == ["paddledet 2.5.0 then, 2.6.0 now"]
    path.unlink()
    ask.cache_clear()
    assert reproduce.differences(state)[0] == f"run.paddle_python: {path} cannot be started: No such file or directory"


def test_reproduce_runs_it_and_compares_the_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = "detpress compress model.random_weights=true"
    stages = {"distill": {"files": "1"}, "export.fp32": {"files": "2"}, "latency.onnxruntime": {"files": "3"}}
    before = {"command": command, "folder": str(ROOT)}
    remembered(tmp_path / "a", "r", **before)
    state = json.loads((tmp_path / "a" / "runs" / "r" / "run.json").read_text())
    (tmp_path / "a" / "runs" / "r" / "run.json").write_text(json.dumps({**state, "stages": stages}))
    fresh = tmp_path / "b"
    again = remembered(fresh, "s")
    told: list[list[str]] = []

    def run(arguments: list[str], **fields: object) -> object:
        told.append(arguments)
        assert fields["cwd"] == str(ROOT)
        return type("Done", (), {"returncode": 0})()

    monkeypatch.setattr(reproduce.children, "run", run)
    monkeypatch.setattr(provenance, "commit", lambda: None)
    for distill, code in (("1", 0), ("9", 4)):
        other = {**stages, "distill": {"files": distill}, "latency.onnxruntime": {"files": "4"}}
        (again / "run.json").write_text(json.dumps({"stages": other}))
        assert reproduce.main(["r", "--fresh", str(fresh), "--artifacts", str(tmp_path / "a")]) == code
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["same"] is (code == 0)
    words = [*command.split()[1:], f"run.artifacts={fresh}", "run.store=null"]
    assert told[0] == python.command("pipelines.cli", *words)


def test_reproduce_compares_the_model_with_float_blocks_but_not_what_was_timed_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce.children, "run", lambda *a, **k: type("Done", (), {"returncode": 0})())
    monkeypatch.setattr(provenance, "commit", lambda: None)
    mixtures = {"a": mixture(tmp_path / "a", "m", "7.1 ms"), "b": mixture(tmp_path / "b", "m", "7.3 ms"),
                "c": mixture(tmp_path / "c", "another", "7.1 ms")}  # fmt: skip
    for name, stage in mixtures.items():
        folder = remembered(tmp_path / name, "r", command="detpress compress", folder=str(ROOT))
        state = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps({**state, "stages": {"float_blocks": stage}}))
    assert len({stage["files"] for stage in mixtures.values()}) == 3

    def again(fresh: str) -> tuple[int, str]:
        code = reproduce.main(["r", "--fresh", str(tmp_path / fresh), "--artifacts", str(tmp_path / "a")])
        return code, capsys.readouterr().err.splitlines()[-1]

    assert again("b") == (0, "float_blocks: the same, bit for bit")
    assert again("c") == (4, "float_blocks: other bytes than then")
    assert Store(tmp_path / "a").remove(mixtures["a"]["entry"])
    code, told = again("b")
    assert code == 4 and "float_blocks: it cannot be compared" in told and "not in the store any more" in told


def mixture(artifacts: Path, model: str, time: str) -> dict[str, str]:
    """What ``run.json`` says of a stored INT8 model with float blocks."""
    store = Store(artifacts)
    store.prepare()
    pending = store.begin(Key("float_blocks", {"model": model, "time": time}))
    for name, text in (("model.onnx", model), ("float_blocks.json", time), ("sensitivity.md", time)):
        (pending.out / name).write_text(text)
    made = ExportedModel(
        root=pending.out, files=hash_files(pending.out), precision=Precision.INT8, input_size=[64, 64],
        scale_factor=False, boxes_output="boxes", scores_output="scores",
    )  # fmt: skip
    entry = store.commit(pending, made, record={})
    return {"status": "done", "entry": entry.artifact.key, "files": digest_of(entry.artifact.files)}
