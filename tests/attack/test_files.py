"""Checkpoints and pictures of somebody else: the reader of weights, and `predict` on what is called an image."""

from __future__ import annotations

import functools
import pickle
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from stages.data.weights import read_pdparams, write_pdparams
from stages.errors import WeightsError
from tests.attack.attempt import Case, attempt, parameters, patience, snapshot
from tests.attack.bundles import picture, working
from tests.attack.generate import NAMES, STRANGE, TEXTS, mutated


@functools.cache
def checkpoint(folder: Path) -> bytes:
    rng = np.random.default_rng(0)
    arrays = {f"conv{i}.weight": rng.standard_normal((4, 3, 3, 3)).astype(np.float32) for i in range(3)}
    write_pdparams(folder / "w.pdparams", arrays)
    return (folder / "w.pdparams").read_bytes()


class _Runs:
    """Where `pickle` would call something."""

    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.made = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.made


def pickles() -> Iterator[tuple[str, bytes]]:
    """Contents of files that are called checkpoints."""
    yield from TEXTS.items()
    calls: dict[str, _Runs] = {
        "os.mkfifo": _Runs(__import__("os").mkfifo, "ran"),
        "eval": _Runs(eval, "open('ran', 'w')"),
        "getattr": _Runs(getattr, b"", "join"),
        "an array of objects": _Runs(np.frombuffer, b"\xff" * 64, np.dtype("O")),
        "a bytearray of all memory": _Runs(bytearray, 1 << 62),
    }
    for name, call in calls.items():
        for protocol in (0, 2, 4, 5):
            yield f"{name} by protocol {protocol}", pickle.dumps({"conv.weight": call}, protocol)
    yield "a tuple in a tuple", b"\x80\x04" + b")\x85" * 1 + b"\x85" * 100_000 + b"."
    yield "a frame without end", b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"."
    yield "a text without end", b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b"."
    yield "memos without end", b"\x80\x04" + b"K\x01" + b"r\xff\xff\xff\x7f0" * 1000 + b"."
    yield "a loop", b"\x80\x04]\x94h\x00a."
    yield "numbers", pickle.dumps({"a": 1, "b": 10**4000})


PICKLES = list(pickles())


@pytest.mark.parametrize("content", [c for _, c in PICKLES], ids=[name for name, _ in PICKLES])
def test_a_file_that_is_no_checkpoint_is_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _refused(tmp_path / "w.pdparams", lambda path: path.write_bytes(content))


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    _refused(tmp_path / "w.pdparams", STRANGE[name])


def _refused(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    before = snapshot(path.parent)
    with patience(), pytest.raises(WeightsError, match=r"w\.pdparams") as caught:
        read_pdparams(path)
    assert "\n" not in caught.value.message and snapshot(path.parent) == before


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_checkpoint_gives_plain_arrays_or_is_refused(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "d.pdparams"
    for content in mutated(checkpoint(tmp_path), DAMAGED // 4, seed):
        path.write_bytes(content)
        try:
            found = read_pdparams(path)
        except WeightsError as error:
            assert "\n" not in error.message
        else:
            assert all(array.dtype.kind in "fiub" for array in found.values())


DAMAGED = 400


# --- pictures --------------------------------------------------------------------------------------------------------


def _png(width: int, height: int, data: bytes = b"") -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


PICTURES = {
    **TEXTS,
    "no pixel": _png(0, 0),
    "a million rows": _png(1, 1_000_000),
    "larger than memory": _png(1 << 30, 1 << 30),
    "a bomb": _png(30_000, 30_000, bytes(1 << 20)),
    "negative": _png(0xFFFFFFFF, 1),
    "a BMP of nothing": b"BM" + bytes(52),
    "a TIFF that leads back": b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x01\0\0\0\x08\0\0\0",
    "a JPEG without a scan": b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xd9",
    "a WebP": b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff",
    "an SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
}
WRITES = ("predictions", "predictions/*")


def _with(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        (work / "b.zip").write_bytes(working())
        make(work / name)

    return prepare


def _bytes(content: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(content)


def cases() -> Iterator[Case]:
    words = ("predict", "b.zip", "i.png")
    yield Case("predict", words, _with("i.png", _bytes(picture())), (0,), WRITES)
    for name, content in PICTURES.items():
        codes = (0, 2) if name == "a million rows" else (2,)
        yield Case(f"predict: {name}", words, _with("i.png", _bytes(content)), codes, WRITES)
    for name, make in STRANGE.items():
        yield Case(f"predict: {name}", words, _with("i.png", make), writes=WRITES)
    for i, content in enumerate(mutated(picture(), 40, seed=41)):
        yield Case(f"predict: mutated {i}", words, _with("i.png", _bytes(content)), (0, 2), WRITES)
    for name in NAMES:
        if "/" in name or name in ("..", "x" * 5000):
            continue
        file = f"{name}.png"
        given = ("predict", "b.zip", "--", file)
        yield Case(f"predict {ascii(file)[:20]}", given, _with(file, _bytes(picture())), (0,), WRITES)
    for name, make in STRANGE.items():
        if name != "a folder":
            yield Case(f"predict into {name}", (*words, "--out", "o"), _both(make), (2,))
    for out in ("/dev/null/x", "b.zip/x", "x" * 300, ""):
        made = _with("i.png", _bytes(picture()))
        yield Case(
            f"predict into {out[:20]!r}", (*words, "--out", out), made, (0, 2) if not out else (2,), ("i-2.png",)
        )
    for threshold in ("nan", "inf", "-1", "2", "x", "9" * 400):
        yield Case(
            f"predict above {threshold[:9]}", (*words, "--threshold", threshold), _with("i.png", _bytes(picture()))
        )
        given = ("verify", "b.zip", "--min-agreement", threshold)
        yield Case(f"verify with {threshold[:9]}", given, _with("i.png", _bytes(picture())))
    for digest in ("", "0" * 64, "\n", "x" * 5000):
        yield Case(
            f"verify of digest {digest[:5]!r}", ("verify", "b.zip", "--sha256", digest), _with("i.png", _bytes(b""))
        )


def _both(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def prepare(work: Path) -> None:
        _with("i.png", _bytes(picture()))(work)
        make(work / "o")

    return prepare


CASES = list(cases())


@pytest.mark.parametrize("case", parameters(CASES))
def test_a_picture(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attempt(case, tmp_path, monkeypatch)
