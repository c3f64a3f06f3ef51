"""The check of `make gpu-pack` where there is a GPU: a driver of ordinary memory, in C, stands in for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stages.artifacts import Precision
from tests.benchmarks import gpu_pack, standin_rtx
from tests.benchmarks.test_gpu_pack import bare_site
from tests.stages.engines import exported

DRIVER = r"""
#include <stdlib.h>
#include <string.h>
typedef unsigned long long address;
static int begun, current;
int cuInit(unsigned flags) { begun = 1; return flags ? 1 : 0; }
int cuDriverGetVersion(int *v) { *v = 13020; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return begun ? 0 : 3; }
int cuDeviceGet(int *d, int number) { *d = 40 + number; return number ? 101 : 0; }
int cuDeviceGetName(char *name, int size, int d) { strncpy(name, "Stand-in 9000", size); return d == 40 ? 0 : 101; }
int cuDeviceGetAttribute(int *v, int which, int d) { *v = which == 75 ? 9 : 0; return d == 40 ? 0 : 101; }
int cuDevicePrimaryCtxRetain(void **c, int d) { *c = &current; return d == 40 ? 0 : 101; }
int cuCtxSetCurrent(void *c) { current = c == &current; return current ? 0 : 201; }
int cuMemAlloc_v2(address *a, size_t size) {
  if (!current) return 201;
  if (REFUSES) return 2;
  *a = (address)malloc(size);
  return 0;
}
int cuMemcpyHtoD_v2(address to, const void *from, size_t size) { memcpy((void *)to, from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, address from, size_t size) { memcpy(to, (void *)from, size); return 0; }
int cuStreamCreate(void **s, unsigned flags) { *s = &begun; return current ? 0 : 201; }
int cuStreamSynchronize(void *s) { return s == &begun ? 0 : 400; }
int cuGetErrorString(int code, const char **text) { *text = code == 2 ? "out of memory" : "wrong order"; return 0; }
"""


def checked(folder: Path, refuses: bool) -> tuple[int, dict[str, Any]]:
    """The exit code and the record of a check with the stand-ins for the driver and for TensorRT for RTX."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("needs a C compiler for the stand-in of the driver")
    source, libraries = folder / "cuda.c", folder / "libraries"
    source.write_text(DRIVER)
    libraries.mkdir()
    defined = f"-DREFUSES={int(refuses)}"
    subprocess.run(
        [compiler, "-shared", "-fPIC", defined, "-o", str(libraries / "libcuda.so.1"), str(source)], check=True
    )
    site = bare_site(folder / "site")
    shutil.copyfile(str(standin_rtx.__file__), site / "tensorrt_rtx_bindings.py")
    files = {p.value: exported(folder / p.value, p).path("model.onnx") for p in Precision}
    gpu_pack.pack_graphs({"standin": files}, folder / "out" / "part-1")
    command = [sys.executable, "-I", "-S", str(folder / "out" / "part-1" / "check.py"), "--timing", "0.4"]
    command += ["--out", str(folder / "found.json"), "--path", str(site)]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
    )
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads((folder / "found.json").read_text())


def test_engines_are_run_on_the_driver_and_compared(tmp_path: Path) -> None:
    code, found = checked(tmp_path, refuses=False)
    assert found["machine"]["gpus"] == [{"name": "Stand-in 9000", "capability": "9.0"}]
    assert (found["machine"]["cuda"], found["rtx"]["status"]) == ("13.2", "ok")
    rtx = {row["variant"]: row for row in found["rows"] if row["runtime"] == "tensorrt_rtx"}
    assert {name: row["status"] for name, row in rtx.items()} == dict.fromkeys(
        ("fp32", "fp16", "int8", "int8_fp16"), "ok"
    ), rtx
    assert all(row["median_ms"] > 0 and "over_fp32" not in row for row in rtx.values())
    cuda = [row for row in found["rows"] if row["runtime"] == "onnxruntime cuda"]
    assert len(cuda) == 4 and {row["status"] for row in cuda} == {"unavailable"}  # never the CPU in its place
    assert all("has no CUDAExecutionProvider" in row["reason"] for row in cuda)
    assert code == 0


def test_a_gpu_that_is_refused_is_told_with_the_reason(tmp_path: Path) -> None:
    code, found = checked(tmp_path, refuses=True)
    assert (found["rtx"]["status"], found["rtx"]["built"]) == ("failed", True)
    assert found["rtx"]["reason"] == "cuMemAlloc_v2 failed: out of memory"
    rows = [row for row in found["rows"] if row["runtime"] == "tensorrt_rtx"]
    assert [row["variant"] for row in rows] == ["fp32", "fp16", "int8", "int8_fp16"]
    reason = "it builds; cuMemAlloc_v2 failed: out of memory"
    assert {(row["status"], row["reason"]) for row in rows} == {("never", reason)}
    assert code == 2  # nothing ran on the GPU
