"""Which CUDA the installed parts want, and whether they fit together and to the driver."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipelines.system.gpu_stack import STACKS, Part, driver_branch, fitting, parts, predicted_device, problems

DRIVER = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  {}.95.05  Release Build"


def installed(**versions: str) -> Callable[[str], str | None]:
    return {name.replace("_", "-"): version for name, version in versions.items()}.get


@pytest.mark.parametrize(
    ("version", "cuda"), [("1.18.1", 11), ("1.19.0", 12), ("1.27.2", 12), ("1.28.0", 13), ("1.31.1", 13)]
)
def test_a_version_of_onnx_runtime_wants_its_cuda(version: str, cuda: int) -> None:
    assert parts(installed(onnxruntime_gpu=version), lambda: None) == [Part("onnxruntime-gpu", version, cuda)]


def test_paddle_says_itself_what_it_was_built_with() -> None:
    found = parts(installed(paddlepaddle_gpu="3.3.1", tensorrt_rtx_cu13="1.7"), lambda: 12)
    assert [(part.distribution, part.cuda) for part in found] == [("paddlepaddle-gpu", 12), ("tensorrt-rtx-cu13", 13)]


def test_what_does_not_fit_is_named_with_what_to_do() -> None:
    version = installed(onnxruntime="1.32.0", onnxruntime_gpu="1.31.1", paddlepaddle_gpu="2.6.2")
    told = "\n".join(problems(parts(version, lambda: 11), DRIVER.format(550), version))
    assert "onnxruntime and onnxruntime-gpu overwrite each other" in told
    assert "onnxruntime-gpu 1.31.1 wants CUDA 13, whose oldest driver is 580; this one is 550" in told
    assert "paddlepaddle-gpu wants CUDA 11, onnxruntime-gpu wants CUDA 13" in told


def test_what_fits_is_not_complained_of() -> None:
    version = installed(onnxruntime_gpu="1.31.1", tensorrt_rtx_cu13="1.7")
    assert problems(parts(version, lambda: None), DRIVER.format(580), version) == []
    assert problems(parts(version, lambda: None), None, version) == []


@pytest.mark.parametrize(("driver", "cuda"), [(580, 13), (600, 13), (550, 12), (470, 11), (390, None)])
def test_the_newest_stack_for_a_driver(driver: int, cuda: int | None) -> None:
    stack = fitting(DRIVER.format(driver))
    assert (stack and stack.cuda) == cuda
    assert driver_branch(DRIVER.format(driver)) == driver


def test_the_lines_of_a_stack_fit_together() -> None:
    """What its own lines install wants the stack's CUDA."""
    for stack, version in zip(STACKS, ("1.28.0", "1.27.0", "1.18.0"), strict=True):
        assert parts(installed(onnxruntime_gpu=version), lambda: None)[0].cuda == stack.cuda
    assert fitting(None) is None


@pytest.mark.parametrize(
    ("asked", "driver", "version", "expected"),
    [
        ("cpu", DRIVER, "3.3.1", "the CPU"),
        ("auto", DRIVER, "3.3.1", "GPU 0"),
        ("gpu:2", DRIVER, "3.3.1", "GPU 2"),
        ("auto", None, None, "the CPU"),
        ("auto", DRIVER, None, "a build for the CPU"),
        ("gpu", None, "3.3.1", "there is no NVIDIA driver"),
    ],
)
def test_where_a_run_will_compute(asked: str, driver: str | None, version: str | None, expected: str) -> None:
    assert expected in predicted_device(asked, driver, lambda name: version)
