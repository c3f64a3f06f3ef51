"""The device that a process is told to compute on."""

from __future__ import annotations

import pytest

from stages.processes.device import Requested, is_device


@pytest.mark.parametrize("text", ["auto", "cpu", "gpu", "gpu:0", "gpu:12"])
def test_names_of_devices(text: str) -> None:
    assert is_device(text)


@pytest.mark.parametrize("text", ["", "cuda", "gpu:", "gpu:-1", "gpu:x", "gpu:1 ", "cpu:0", "GPU", None, 0, ["gpu"]])
def test_what_is_no_device(text: object) -> None:
    assert not is_device(text)


@pytest.mark.parametrize(("device", "index"), [("auto", 0), ("gpu", 0), ("gpu:3", 3)])
def test_the_number_of_the_gpu(device: str, index: int) -> None:
    assert Requested(device).index == index
