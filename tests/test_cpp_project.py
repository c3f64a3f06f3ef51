"""docs/cpp: built by CMake for OpenVINO and for ONNX Runtime; finds in golden images what `detpress predict` finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.commands import predict as predict_command
from pipelines.runs.bundles import write_zip
from stages.artifacts import Bundle
from stages.bundle.verify import compare
from stages.options.accuracy import NmsOptions
from stages.options.export import Inside
from tests.conftest import ROOT
from tests.stages.bundle.test_bundle import bundled

pytestmark = pytest.mark.slow

PROJECT = ROOT / "docs" / "cpp"
HEADERS = os.environ.get("DETPRESS_ONNXRUNTIME_INCLUDE", "/usr/include/onnxruntime")
"""Where Debian's libonnxruntime-dev puts onnxruntime_cxx_api.h; the wheel has the library and no header."""
INSIDE = Inside(NmsOptions(score_threshold=0.01), True)


def _tools() -> list[str]:
    if missing := [tool for tool in ("cmake", "c++") if shutil.which(tool) is None]:
        pytest.skip(f"needs {' and '.join(missing)}")
    return ["cmake", "-G", "Ninja"] if shutil.which("ninja") else ["cmake"]


def openvino() -> list[str]:
    """Where the wheel of OpenVINO has its files for CMake."""
    found = pytest.importorskip("openvino", reason="the wheel of OpenVINO is not installed")
    folder = Path(found.__file__).parent / "cmake"
    if not (folder / "OpenVINOConfig.cmake").is_file():
        pytest.skip("this wheel of OpenVINO has no files for CMake")
    return [f"-DOpenVINO_DIR={folder}"]


def onnxruntime() -> list[str]:
    """The wheel's library, with headers from elsewhere."""
    import onnxruntime as ort

    libraries = sorted((Path(ort.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not (Path(HEADERS) / "onnxruntime_cxx_api.h").is_file():
        pytest.skip(f"{HEADERS} has no onnxruntime_cxx_api.h (DETPRESS_ONNXRUNTIME_INCLUDE names another folder)")
    if not libraries:
        pytest.skip("this wheel of ONNX Runtime has no library to link")
    return [f"-DONNXRUNTIME_INCLUDE={HEADERS}", f"-DONNXRUNTIME_LIBRARY={libraries[0]}"]


RUNTIMES: dict[str, Callable[[], list[str]]] = {"openvino": openvino, "onnxruntime": onnxruntime}


@pytest.fixture(scope="module", params=list(RUNTIMES))
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``detect_RUNTIME``, built."""
    cmake, settings = _tools(), RUNTIMES[request.param]()
    folder = tmp_path_factory.mktemp("build")
    other = ["-DCMAKE_DISABLE_FIND_PACKAGE_OpenVINO=ON"] if request.param == "onnxruntime" else ["-DONNXRUNTIME_INCLUDE="]
    for command in ([*cmake, "-S", str(PROJECT), "-B", str(folder), *settings, *other], ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "warning:" not in done.stdout + done.stderr
    return folder / f"detect_{request.param}"


@pytest.fixture(scope="module", params=[None, INSIDE], ids=["outside", "inside"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return bundled(tmp_path_factory.mktemp("bundle"), request.param)


def run(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    folder = program.parent / "libraries"  # the wheel's library has a file name that its soname is not
    if program.name == "detect_onnxruntime" and not folder.exists():
        import onnxruntime as ort

        folder.mkdir()
        for library in (Path(ort.__file__).parent / "capi").glob("libonnxruntime.so.*"):
            (folder / "libonnxruntime.so.1").symlink_to(library)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder)}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


def test_it_finds_what_predict_finds(
    program: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted((bundle.root / "golden").glob("*.png"))
    write_zip(bundle, tmp_path / "b.zip")
    assert predict_command.main([str(tmp_path / "b.zip"), *map(str, images), "--no-pictures"]) == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    for words in ([bundle.root], [bundle.root / "engine" / "model.onnx", *images]):
        done = run(program, *words)
        assert done.returncode == 0, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert [one["image"] for one in found] == list(map(str, images)) and len(images) == 2
        pairs = lost = 0
        for one, other in zip(expected, found, strict=True):
            matched, alone, _ = compare(one["detections"], other["detections"])
            pairs, lost = pairs + matched, lost + alone
            assert all(each["label"] == "abcdefghijkl"[each["class"]] for each in other["detections"])
        assert pairs > 3 and pairs >= 0.95 * (pairs + lost)


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "usage: "), (("none.onnx", "a.png"), "error: none.onnx cannot be read"), ((__file__, "a.png"), "error: ")],
)
def test_what_it_cannot_run_is_one_line(program: Path, words: tuple[Any, ...], said: str) -> None:
    done = run(program, *words)
    assert done.returncode == 2 and done.stderr.startswith(said) and len(done.stderr.splitlines()) == 1
