"""What a pack for GPUs found, as a table; and files that are something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.errors import InputError
from stages.report import gpu_pack


def record(**changes: Any) -> dict[str, Any]:
    ok = {"model": "m", "runtime": "onnxruntime cuda", "variant": "fp32", "status": "ok", "median_ms": 2.0}
    more = {"difference": 2e-4, "bound": 1e-3, "nodes": {"CUDAExecutionProvider": 200, "CPUExecutionProvider": 2}}
    ratio = {"median": 1.8, "low": 1.7, "high": 1.9, "rounds": 20}
    rows = [
        {**ok, **more, "elsewhere": {"NonZero": 2}},
        {**ok, "variant": "fp16", "over_fp32": ratio},
        {"model": "m", "runtime": "tensorrt_rtx", "variant": "all", "status": "failed", "reason": "refuses | the GPU"},
    ]
    machine = {"gpus": [{"name": "GPU 9000", "capability": "9.0"}], "driver": "580.1", "cuda": "13.0", "why": None}
    whole = {"kind": "gpu-pack", "schema_version": 1, "machine": machine, "rtx": {"status": "failed"}, "rows": rows}
    return {**whole, "finished": True, **changes}


def written(folder: Path, content: Any) -> Path:
    path = folder / "found.json"
    path.write_text(json.dumps(content))
    return path


def test_the_table_says_what_ran_where(tmp_path: Path) -> None:
    text = gpu_pack.render(gpu_pack.read(written(tmp_path, record())))
    assert "- GPU: GPU 9000 (compute capability 9.0)" in text
    assert "| m | onnxruntime cuda | FP32 | ok | 2.00 | – | – | 2.0e-04 | 1e-03 | 200 CUDA, 2 CPU | 2 NonZero |" in text
    assert "1.80 (1.70 to 1.90)" in text
    assert "- m, tensorrt_rtx, all: failed. refuses \\| the GPU" in text
    assert "stopped before its end" not in text


def test_wheels_that_could_not_be_joined_are_told(tmp_path: Path) -> None:
    text = gpu_pack.render(gpu_pack.read(written(tmp_path, record(wheels_missing="a piece is damaged"))))
    assert "The wheels of the pack were not used: a piece is damaged." in text


def test_a_check_that_was_stopped_says_so(tmp_path: Path) -> None:
    assert "stopped before its end" in gpu_pack.render(gpu_pack.read(written(tmp_path, record(finished=False))))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"rows": []}, "is not the JSON of a pack"),
        (record(schema_version=2), "has the version 2"),
        (record(rows=[{"model": "m"}]), r"rows\[0\].runtime is missing"),
        (record(machine={"gpus": ["x"]}), r"machine.gpus\[0\]"),
        ([], "cannot be read"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        gpu_pack.read(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no"):
        gpu_pack.read(tmp_path / "none.json")
