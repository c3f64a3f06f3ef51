"""The import order holds, ppdet says nothing and downloads nothing. Each case runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def run(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, env=env)


def test_order_holds_and_import_is_silent() -> None:
    # zlib users after Paddle are what crashes when the order is wrong.
    code = (
        "import stages.paddle, sys\n"
        "import paddle\n"
        "import pandas, mlflow, zlib, gzip\n"
        "data = b'x' * 100000\n"
        "assert zlib.decompress(zlib.compress(data)) == data\n"
        "assert gzip.decompress(gzip.compress(data)) == data\n"
        "import paddleslim, paddle2onnx\n"
        "print('alive', paddle.to_tensor([1.0, 2.0]).sum().item())\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == "alive 3.0\n"
    assert "numba" not in done.stderr
    assert "OMP_NUM_THREADS" not in done.stderr


def test_paddle_before_the_door_is_refused() -> None:
    # A fake module is enough: the point is that the door looks, and says so before anything native is loaded.
    done = run("import sys, types; sys.modules['paddle'] = types.ModuleType('paddle'); import stages.paddle")
    assert done.returncode == 1
    assert "paddle was imported before stages.paddle" in done.stderr


def test_no_download_is_ever_started() -> None:
    code = (
        "import stages.paddle\n"
        "from stages.errors import WeightsError\n"
        "from ppdet.utils.download import get_weights_path\n"
        "from paddle.utils.download import get_weights_path_from_url\n"
        "for fetch in (get_weights_path, get_weights_path_from_url):\n"
        "    try:\n"
        "        fetch('http://127.0.0.1:9/nowhere/model_that_is_not_there.pdparams')\n"
        "    except WeightsError as error:\n"
        "        print('refused', 'nothing is downloaded' in str(error))\n"
    )
    done = run(code)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-2:] == ["refused True", "refused True"]


def test_mkl_takes_avx2_on_cpus_that_are_not_intels() -> None:
    code = (
        "import os; os.environ['MKL_DEBUG_CPU_TYPE'] = 'mine'\n"
        "from stages.paddle import _widen_mkl\n"
        "kept = os.environ.pop('MKL_DEBUG_CPU_TYPE')\n"
        "seen = []\n"
        "for text in ('vendor_id: GenuineIntel flags: avx2', 'vendor_id: AuthenticAMD flags: sse2',"
        " 'vendor_id: AuthenticAMD flags: avx2'):\n"
        "    _widen_mkl(text); seen.append(os.environ.get('MKL_DEBUG_CPU_TYPE'))\n"
        "print(kept, seen)\n"
    )
    assert run(code).stdout == "mine [None, None, '5']\n"
