"""`make gpu-pack`: what is packed, and its check on a bare Python; there is no GPU here, so the CPU's part runs."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pipelines.commands import report
from stages.artifacts import Precision
from tests.benchmarks import gpu_pack
from tests.benchmarks.pocket import fill, join, turns
from tests.stages.engines import exported
from tests.stages.qdq import Build

VARIANTS = ("fp32", "fp16", "int8", "int8_fp16")
BARE = ("numpy", "onnx", "onnxruntime", "google", "ml_dtypes", "typing_extensions", "flatbuffers", "packaging")
"""What may be imported beside the standard library: numpy, onnx, ONNX Runtime, and what they need themselves."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pack")
    files = {p.value: exported(folder / p.value, p).path("model.onnx") for p in Precision}
    gpu_pack.pack_graphs({"standin": files}, folder / "out" / "part-1")
    return folder / "out"


def manifest(out: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "part-1" / "graphs.json").read_text())
    return content


def bare_site(folder: Path) -> Path:
    folder.mkdir()
    for name in BARE:
        spec = importlib.util.find_spec(name)
        places = list(spec.submodule_search_locations or []) if spec else []
        origin = Path(places[0]) if places else Path(str(spec.origin)) if spec and spec.origin else None
        if origin is not None:
            (folder / origin.name).symlink_to(origin)
    return folder


def run_check(part: Path, out: Path, site: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", str(part / "check.py"), "--out", str(out), "--path", str(site)]
    return subprocess.run([*command, *more], capture_output=True, text=True, timeout=300, check=False)


def test_every_graph_is_there_without_its_weights_and_no_folder_is_too_large(packed: Path) -> None:
    assert {g["variant"] for g in manifest(packed)["graphs"].values()} == set(gpu_pack.LOWERED)
    for graph in manifest(packed)["graphs"].values():
        model = onnx.load(str(packed / "part-1" / graph["file"]))
        drawn = {entry["name"] for entry in graph["tensors"]}
        empty = {t.name for t in model.graph.initializer if not t.raw_data and not t.float_data and not t.int32_data}
        assert drawn and drawn <= empty
    assert gpu_pack.too_large(packed) == []
    assert {path.name for path in (packed / "part-1").glob("*.py")} == {*gpu_pack.PROGRAMS, *gpu_pack.BORROWED}


def test_a_folder_over_the_limit_is_named(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_pack, "LIMIT", 1000)
    assert [line.split()[0] for line in gpu_pack.too_large(packed)] == ["part-1"]


def test_the_filler_draws_what_the_manifest_says(packed: Path) -> None:
    listed = manifest(packed)
    for name, graph in listed["graphs"].items():
        model = fill.load(packed / "part-1", name)
        held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        for entry in graph["tensors"]:
            assert fill.digest(held[entry["name"]]) == entry["sha256"]
            assert held[entry["name"]].dtype.name == entry["dtype"]
            assert list(held[entry["name"]].shape) == entry["shape"]
        onnx.checker.check_model(model)


def test_the_drawn_bytes_are_these_on_every_machine() -> None:
    entry = {"name": "w", "shape": [2, 50], "mean": 0.5, "deviation": 2.0, "low": -3.0, "high": 4.0}
    values = fill.draw("seed", {**entry, "dtype": "float32"})
    assert fill.digest(values) == "03a674d5ab91beead1c497cc1056cc8adc141b5ba036efa29174317fa778686d"
    whole = fill.draw("seed", {**entry, "dtype": "int8"})
    assert fill.digest(whole) == "5b00bc49ab8f7f11d52ff25ff34d23447dd02e8f06578e6da0e5fed116e89fde"
    assert abs(values.mean() - 0.5) < 0.5 and abs(values.std() - 2.0) < 0.4
    assert (whole.min(), whole.max()) == (-3, 4)


def test_another_seed_is_refused(packed: Path) -> None:
    listed = manifest(packed)
    graph = listed["graphs"]["standin.fp32"]
    model = onnx.load(str(packed / "part-1" / graph["file"]))
    with pytest.raises(ValueError, match="drawn otherwise than the manifest says"):
        fill.fill(model, graph["tensors"], "another seed")


def test_scales_of_quantizers_are_kept() -> None:
    b = Build(("x", [1, 8, 8, 8]))
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.01, 0.1, 128).astype(np.float32)
    weight = b.qdq(b.const(rng.standard_normal((128, 8, 3, 3))), scale, axis=0)
    b.node("Conv", b.qdq("x", np.float32(0.05)), weight, out="y", pads=[1, 1, 1, 1])
    bare, entries = gpu_pack.emptied(b.model(y=[1, 128, 8, 8]))
    (entry,) = entries
    assert entry["shape"] == [128, 8, 3, 3]
    kept = [numpy_helper.to_array(t) for t in bare.graph.initializer if t.name != entry["name"]]
    assert any(np.array_equal(values, scale) for values in kept)


def test_a_wheel_is_cut_joined_and_unzipped(packed: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "part-1").mkdir(parents=True)
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing/__init__.py", "VALUE = 7\n" + "#" * 1000)
    gpu_pack.pack_wheels([wheel], out, piece=300)
    parts = sorted(out.glob("part-*"))
    assert len(parts) == 1 + -(-wheel.stat().st_size // 300)
    assert join.join(parts, tmp_path / "site") == [wheel.name]
    assert (tmp_path / "site" / "thing" / "__init__.py").read_text().startswith("VALUE = 7")
    piece = next(parts[2].iterdir())
    content = piece.read_bytes()
    piece.write_bytes(content[:-1] + b"?")
    with pytest.raises(ValueError, match="damaged"):
        join.join(parts, tmp_path / "site")
    piece.unlink()
    with pytest.raises(ValueError, match="bring all parts"):
        join.join(parts, tmp_path / "site")


def test_a_wheel_that_cannot_be_had_is_named(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    options = argparse.Namespace(out=packed, wheels=True, rtx=False, python="3.11", wheels_from=None)
    assert gpu_pack.finish(options) == 2
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert line.startswith("the wheel of onnxruntime-gpu for Python 3.11 is missing: ")
    assert "--wheels-from FOLDER" in line and "written: 1 folders" in shown.out


def test_the_check_runs_on_a_bare_python_and_its_json_is_read(
    packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = bare_site(tmp_path / "site")
    out = tmp_path / "found.json"
    done = run_check(packed / "part-1", out, site, "--timing", "0.5")
    found = json.loads(out.read_text())
    if found["machine"]["gpus"]:
        pytest.skip("there is a GPU here")
    assert done.returncode == 2, done.stdout + done.stderr
    ran = {row["variant"]: row for row in found["rows"] if row["runtime"] == "onnxruntime cpu"}
    assert {name: row["status"] for name, row in ran.items()} == dict.fromkeys(VARIANTS, "ok")
    for row in ran.values():
        assert set(row["nodes"]) == {"CPUExecutionProvider"} and row["median_ms"] > 0
        assert row["difference"] <= row["bound"]
    assert "over_fp32" in ran["int8"] and found["finished"]
    assert found["rtx"]["status"] == "unavailable"  # it is not among what may be imported
    never = {row["runtime"] for row in found["rows"] if row["status"] == "never"}
    assert never == {"onnxruntime cuda", "tensorrt_rtx"}
    assert report.main([str(out)]) == 0
    shown = capsys.readouterr().out
    assert "| standin | onnxruntime cpu | INT8 | ok |" in shown
    assert "standin, onnxruntime cuda, all: never. no GPU can be used: " in shown


def test_a_check_without_time_says_what_it_left_out(packed: Path, tmp_path: Path) -> None:
    site, out = bare_site(tmp_path / "site"), tmp_path / "found.json"
    done = run_check(packed / "part-1", out, site, "--budget", "1")
    rows = json.loads(out.read_text())["rows"]
    assert done.returncode == 2, done.stdout + done.stderr
    assert {row["reason"] for row in rows if row["runtime"] == "onnxruntime cpu"} == {"the time was spent before it"}


def test_cuda_is_never_replaced_by_the_cpu(packed: Path, tmp_path: Path) -> None:
    """Asked for CUDA on an ONNX Runtime without it, a step is unavailable and says so."""
    arguments = {"folder": str(packed / "part-1"), "graph": "standin.fp32", "variant": "fp32", "provider": "cuda"}
    command = [sys.executable, "-I", str(packed / "part-1" / "steps.py"), "ort", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout.splitlines()[-1])
    if found["status"] == "ok":
        pytest.skip("there is a GPU here")
    assert found["status"] == "unavailable" and "CUDA" in found["reason"]


def test_the_ratio_and_its_bounds() -> None:
    found = turns.ratio([10.0] * 10, [5.0] * 10)
    assert found == {"median": 2.0, "low": 2.0, "high": 2.0, "rounds": 10}
    ratios = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    found = turns.ratio(ratios, [1.0] * 10)
    assert (found["median"], found["low"], found["high"]) == (5.5, 2.0, 9.0)  # 2 * P(X <= 1) is 0.021 of (10, 1/2)
    assert turns.ratio([4.0], [2.0]) == {"median": 2.0, "low": None, "high": None, "rounds": 1}
