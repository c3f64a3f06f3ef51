"""What the runs of a folder are, what can go, and how a run is made again."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from pipelines.commands import gc, reproduce, runs
from pipelines.runs.garbage import collect, garbage
from pipelines.runs.history import folders
from pipelines.store.local import Key, Store
from pipelines.system import provenance
from pipelines.system.run_lock import alive
from stages.artifacts import AccuracyResult, ExportedModel, Precision, digest_of, hash_files
from stages.errors import InputError
from tests.conftest import ROOT


def stored(artifacts: Path, text: str) -> str:
    """An entry of the store; its name."""
    store = Store(artifacts)
    store.prepare()
    key = Key("stub", {"text": text})
    pending = store.begin(key)
    (pending.out / "text.txt").write_text(text * 1000)
    made = AccuracyResult(root=pending.out, files=hash_files(pending.out), backend="stub", precision=Precision.FP32)
    store.commit(pending, made, record={})
    return str(key)


def remembered(artifacts: Path, name: str, *entries: str, status: str = "FINISHED", **more: object) -> Path:
    folder = artifacts / "runs" / name
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    stages = {f"s{i}": {"status": "done", "entry": entry} for i, entry in enumerate(entries)}
    (folder / "run.json").write_text(json.dumps({"run_id": name, "status": status, "stages": stages, **more}))
    return folder


def test_gc_keeps_what_runs_links_bundles_and_live_runs_refer_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, shared, new, aliased, bundled, live = (stored(tmp_path, text) for text in "abcdef")
    remembered(tmp_path, "1", old, shared)
    remembered(tmp_path, "2", aliased)
    remembered(tmp_path, "3", bundled)
    going = remembered(tmp_path, "4", live, status="RUNNING")
    remembered(tmp_path, "5", shared, new)
    (tmp_path / "runs" / "best").symlink_to("2")
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles" / "b.json").write_text(json.dumps({"run_id": "3"}))
    store = Store(tmp_path)
    with alive(going):
        later = stored(tmp_path, "g")  # of the live run, which has not written it down yet
        assert gc.main(["--keep-last", "1", "--dry-run", "--artifacts", str(tmp_path)]) == 0
        assert old in capsys.readouterr().out
        assert set(store.names()) == {old, shared, new, aliased, bundled, live, later}
        assert gc.main(["--keep-last", "1", "--artifacts", str(tmp_path)]) == 0
        assert set(store.names()) == {shared, new, aliased, bundled, live, later}
    assert "removed" in capsys.readouterr().out
    gc.main(["--keep-last", "1", "--artifacts", str(tmp_path)])
    assert set(store.names()) == {shared, new, aliased, bundled}
    assert len(folders(tmp_path)) == 5
    gc.main(["--keep-last", "1", "--runs", "--artifacts", str(tmp_path)])
    assert [folder.name for folder in folders(tmp_path)] == ["5", "3", "2"]


def test_gc_removes_old_checkpoints_and_what_killed_runs_left(tmp_path: Path) -> None:
    stored(tmp_path, "a")
    store = Store(tmp_path)
    stale, fresh, busy = (store.begin(Key("stub", {"n": n})) for n in range(3))
    for pending in (stale, fresh, busy):
        (pending.work / "checkpoint").write_text("x")
    for path in (stale.work, stale.work / "checkpoint"):
        os.utime(path, (1, 1))
    remembered(tmp_path, "1")
    for pending in (fresh, busy):
        os.utime(pending.work, (2**31, 2**31))
    with store.lock(busy.key):
        found = garbage(tmp_path, 1)
        assert list(found.work) == [stale.work.name]
        assert set(found.temporary) == {p.folder.name for p in (stale, fresh, busy)}
        assert list(collect(tmp_path, found)) == [busy.folder.name]
    assert not stale.work.exists() and fresh.work.exists() and busy.folder.exists()


def test_gc_wants_to_know_how_many_and_where(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--artifacts"):
        gc.main(["--keep-last", "1", "--artifacts", str(tmp_path)])
    with pytest.raises(SystemExit):
        gc.main([])


def test_the_list_of_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runs.main(["--artifacts", str(tmp_path)]) == 0
    assert "there are no runs" in capsys.readouterr().out
    rows = [
        {"status": "ok", "backend": "onnxruntime", "precision": "fp32", "map": 41.5, "speedup": {"runtime": None}},
        {
            "status": "ok",
            "backend": "onnxruntime",
            "precision": "int8",
            "map": 40.9,
            "speedup": {"runtime": 2.61},
            "engine_bytes": 2_300_000,
        },
        {"status": "failed", "backend": "openvino", "precision": "int8", "map": None, "speedup": {"runtime": 9.0}},
    ]
    done = remembered(tmp_path, "20260101-a", model="tiny", data="shapes", started="2026-01-01T10:00:00Z")
    (done / "report.json").write_text(json.dumps({"rows": rows}))
    remembered(tmp_path, "20260102-b", status="RUNNING")
    assert runs.main(["--json", "--artifacts", str(tmp_path)]) == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [(r["id"], r["status"]) for r in listed] == [("20260102-b", "KILLED"), ("20260101-a", "FINISHED")]
    assert (listed[1]["map_fp32"], listed[1]["map"], listed[1]["speedup"]) == (41.5, 40.9, 2.61)
    runs.main(["--artifacts", str(tmp_path), "--last", "2"])
    shown = capsys.readouterr().out
    assert "2.61x" in shown and "2.3 MB" in shown and "2026-01-01 10:00:00" in shown


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

    monkeypatch.setattr(reproduce.subprocess, "run", run)
    monkeypatch.setattr(provenance, "commit", lambda: None)
    for distill, code in (("1", 0), ("9", 4)):
        other = {**stages, "distill": {"files": distill}, "latency.onnxruntime": {"files": "4"}}
        (again / "run.json").write_text(json.dumps({"stages": other}))
        assert reproduce.main(["r", "--fresh", str(fresh), "--artifacts", str(tmp_path / "a")]) == code
        assert json.loads(capsys.readouterr().out.splitlines()[-1])["same"] is (code == 0)
    assert told[0] == [
        sys.executable,
        "-m",
        "pipelines.cli",
        *command.split()[1:],
        f"run.artifacts={fresh}",
        "run.store=null",
    ]


def test_reproduce_compares_the_model_with_float_blocks_but_not_what_was_timed_for_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproduce.subprocess, "run", lambda *a, **k: type("Done", (), {"returncode": 0})())
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
