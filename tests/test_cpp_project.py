"""docs/cpp: built by CMake for OpenVINO and for ONNX Runtime; finds in golden images what `detpress predict` finds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
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
from tests.stages.bundle import test_thresholds as moved
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
    if request.param == "onnxruntime":
        settings = [*settings, "-DCMAKE_DISABLE_FIND_PACKAGE_OpenVINO=ON"]
    configure = [*cmake, "-S", str(PROJECT), "-B", str(folder), *settings]
    for command in (configure, ["cmake", "--build", str(folder)]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert "warning:" not in done.stdout + done.stderr
    return folder / f"detect_{request.param}"


@pytest.fixture(
    scope="module",
    params=[("onnxruntime", None), ("onnxruntime", INSIDE), ("openvino", None), ("openvino", INSIDE)],
    ids=["onnxruntime-outside", "onnxruntime-inside", "openvino-outside", "openvino-inside"],
)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    backend, inside = request.param
    if backend == "openvino":
        pytest.importorskip("openvino", reason="the wheel of OpenVINO is not installed")
    return bundled(tmp_path_factory.mktemp("bundle"), inside, backend)


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


def predicted(bundle: Bundle, images: list[Path], folder: Path, capsys: pytest.CaptureFixture[str]) -> list[Any]:
    """What `detpress predict` prints of a bundle."""
    write_zip(bundle, folder / "b.zip")
    assert predict_command.main([str(folder / "b.zip"), *map(str, images), "--no-pictures"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def found(program: Path, *words: object) -> list[Any]:
    done = run(program, *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def of_each(key: str, images: list[Any]) -> list[Any]:
    return [each[key] for one in images for each in one["detections"]]


def agree(expected: list[Any], own: list[Any]) -> None:
    pairs = lost = 0
    for one, other in zip(expected, own, strict=True):
        matched, alone, _ = compare(one["detections"], other["detections"])
        pairs, lost = pairs + matched, lost + alone
        assert all(each["label"] == "abcdefghijkl"[each["class"]] for each in other["detections"])
    assert pairs > 3 and pairs >= 0.95 * (pairs + lost)


def test_it_finds_what_predict_finds(
    program: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = sorted((bundle.root / "golden").glob("*.png"))
    expected = predicted(bundle, images, tmp_path, capsys)
    own = found(program, bundle.root)
    assert [one["image"] for one in own] == list(map(str, images)) and len(images) == 2
    agree(expected, own)
    alone = bundle.root / "engine" / "model.onnx"
    if alone.is_file():
        agree(expected, found(program, alone, *images))


def test_it_reads_ppm_and_jpeg(
    program: Path, bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    image = cv2.imread(str(bundle.root / "golden" / "001.png"))
    for name in ("a.ppm", "b.jpg"):
        assert cv2.imwrite(str(tmp_path / name), image)
    probe = run(program, bundle.root, tmp_path / "b.jpg")
    if "this build does not read such files" in probe.stderr:
        pytest.skip("libjpeg's headers are not installed")
    images = [tmp_path / "a.ppm", tmp_path / "b.jpg"]
    agree(predicted(bundle, images, tmp_path, capsys), found(program, bundle.root, *images))


def test_moved_thresholds_are_used_on_request(
    program: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Most of what the model finds is c, between 0.5 and 0.99 on every CPU.
    bundle = moved.bundled(tmp_path, partial(moved.found, least={"a": 0.04, "c": 0.99}))
    images = sorted((bundle.root / "golden").glob("*.png"))
    write_zip(bundle, tmp_path / "b.zip")
    given = [str(tmp_path / "b.zip"), *map(str, images), "--no-pictures", "--threshold", "moved"]
    assert predict_command.main(given) == 0
    expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    file = bundle.root / "engine" / "model.onnx"
    own = found(program, "--moved", file, *images)
    agree(expected, own)
    done = run(program, file, *images)
    assert done.returncode == 0 and "--moved uses those" in done.stderr
    unmoved = [json.loads(line) for line in done.stdout.splitlines()]
    assert "c" in of_each("label", unmoved) and "c" not in of_each("label", own)
    assert min(of_each("score", unmoved)) >= 0.5
    plain = bundled(tmp_path / "plain")
    done = run(program, "--moved", plain.root / "engine" / "model.onnx", *images)
    assert done.returncode == 2 and "error: the model has no thresholds of its own" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [((), "usage: "), (("none.onnx", "a.png"), "error: none.onnx cannot be read"), ((__file__, "a.png"), "error: ")],
)
def test_what_it_cannot_run_is_one_line(program: Path, words: tuple[Any, ...], said: str) -> None:
    done = run(program, *words)
    assert done.returncode == 2 and done.stderr.startswith(said) and len(done.stderr.splitlines()) == 1
