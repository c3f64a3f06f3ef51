"""The parameters' file: read as it was written, or refused in one line and without much memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from stages.errors import WeightsError
from stages.programs.parameters import read_parameters
from tests.stages.programs.writing import NUMBERS, described, tensor


def test_tensors_come_back_as_they_were_written(tmp_path: Path) -> None:
    rng, shapes = np.random.default_rng(3), [(), (1,), (300, 2), (3, 0, 2), (2, 3, 4, 5)]
    arrays = [(rng.standard_normal(shape) * 50).astype(dtype) for dtype in NUMBERS for shape in shapes]
    file = tmp_path / "inference.pdiparams"
    file.write_bytes(b"".join(map(tensor, arrays)))
    found = read_parameters(file)
    assert [(f.dtype, f.shape) for f in found] == [(a.dtype, a.shape) for a in arrays]
    assert all(np.array_equal(f, a) for f, a in zip(found, arrays, strict=True))


def test_a_file_cut_off_anywhere_lacks_a_tensor_or_is_refused(tmp_path: Path) -> None:
    whole = tensor(np.arange(12, dtype=np.float32).reshape(3, 4)) * 2
    file = tmp_path / "inference.pdiparams"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        if length % (len(whole) // 2) == 0:
            assert len(read_parameters(file)) == length // (len(whole) // 2)
        else:
            with pytest.raises(WeightsError, match="is cut off or something else"):
                read_parameters(file)


@pytest.mark.parametrize(
    "data",
    [
        described("float32", [1 << 39, 1 << 39]),
        described("float32", [1 << 62]),
        described("int8", [2] * 60),
        described("float32", [4])[:20] + b"\x08\x63" + b"\x10\x04",
        b"\xff" * 64,
        b"PK\x03\x04" + bytes(100),
        described("float32", [4])[:12] + (2**31 - 1).to_bytes(8, "little"),
        (0).to_bytes(4, "little") + (1 << 60).to_bytes(8, "little"),
    ],
)
def test_what_a_file_states_is_not_believed(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "inference.pdiparams"
    file.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(WeightsError) as caught:
        read_parameters(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()
    assert "\n" not in str(caught.value) and "Copy the export again" in str(caught.value)


def test_any_byte_may_be_wrong(tmp_path: Path) -> None:
    rng, whole = np.random.default_rng(5), tensor(np.arange(6, dtype=np.int32).reshape(2, 3))
    file, refused = tmp_path / "inference.pdiparams", 0
    for _ in range(400):
        data = bytearray(whole)
        data[int(rng.integers(30))] = int(rng.integers(256))
        file.write_bytes(bytes(data))
        try:
            assert sum(a.size for a in read_parameters(file)) <= 60
        except WeightsError:
            refused += 1
    assert refused > 200
