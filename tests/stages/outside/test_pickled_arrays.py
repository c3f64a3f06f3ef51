"""Checkpoints are read without pickle: what they hold comes back as it was, and nothing else is made or called."""

from __future__ import annotations

import collections
import pickle
import resource
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.data.weights import read_pdparams
from stages.errors import WeightsError
from stages.outside.pickle_stack import Refused
from stages.outside.pickled_arrays import loads

MUTATIONS = 10_000
TYPES = ("bool", "i1", "u1", "<i2", "<i4", "<i8", "<u8", "<f2", "<f4", "<f8", ">f4")


def checkpoint() -> dict[str, Any]:
    """Every form that weights have, in a few hundred bytes."""
    arrays = {f"a{i}": np.arange(6).reshape(2, 3).astype(kind) for i, kind in enumerate(TYPES)}
    return {
        **arrays,
        "paddle": ("conv_0.w_0", np.ones((2, 2), np.float32)),
        "columns": np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)),
        "none": np.zeros((0, 3), np.float32),
        "number": np.array(3.0),
        "scalar": np.float32(1.5),
        "StructuredToParameterName@@": {"a": "conv_0.w_0"},
        "ordered": collections.OrderedDict(b=1, a=2),
        "plain": [1, -1, 2**40, 10**30, 1.5, None, True, False, "ä", b"\x00\xff", b"", (), (1,), (1, 2, 3, 4)],
    }


@pytest.mark.parametrize("protocol", range(5))
def test_what_weights_hold_comes_back_as_it_was(protocol: int) -> None:
    wanted, found = checkpoint(), loads(pickle.dumps(checkpoint(), protocol=protocol))
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        if isinstance(value, np.ndarray):
            assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found[name], value)
            found[name][...] = 0  # a training goes on with it
        elif name != "paddle":
            assert found[name] == value
    assert found["columns"].flags.f_contiguous and found["scalar"].dtype == np.float32
    assert found["paddle"][0] == "conv_0.w_0" and found["paddle"][1].sum() == 4


class Calls:
    """Pickled as the call of something."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.made = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.made


def array_of(shape: Any, dtype: Any, data: Any) -> Calls:
    """An array with a state of one's own choice."""
    make = np.zeros(1).__reduce__()[0]
    return Calls(make, np.ndarray, (0,), b"b", state=(1, shape, dtype, False, data))


F4 = np.dtype("f4")
RECORD = np.dtype([("a", "f4"), ("b", "O")])
HOSTILE = {
    "an object array": np.array([object, None], dtype=object),
    "an object array over bytes": array_of((1,), np.dtype("O"), b"A" * 8),
    "a record": np.zeros(2, RECORD),
    "a record with a state": array_of((1,), RECORD, b"A" * 12),
    "text": np.array(["a"]),
    "dates": np.array(["2026-01-01"], dtype="datetime64[s]"),
    "void": np.zeros(1, "V8"),
    "complex": np.zeros(1, complex),
    "too few bytes": array_of((1000,), F4, b"A" * 8),
    "too many bytes": array_of((1,), F4, b"A" * 8),
    "a negative side": array_of((-1,), F4, b""),
    "an overflow": array_of((2**62, 4), F4, b"A" * 4),
    "no numbers as sides": array_of(("a",), F4, b"A" * 4),
    "a side that is true": array_of((True,), F4, b"A" * 4),
    "many dimensions": array_of((1,) * 65, F4, b"A" * 4),
    "a list of objects": array_of((1,), F4, [object()]),
    "no type": array_of((1,), None, b"A" * 4),
    "text in the place of a type": array_of((1,), "f4", b"A" * 4),
    "another state of a type": array_of(
        (1,), Calls(np.dtype, "f4", False, True, state=(3, "<", F4, None, None, -1)), b""
    ),
    "fields set on a type": array_of(
        (1,), Calls(np.dtype, "f4", False, True, state=(3, "<", None, ("a",), {"a": (F4, 0)}, 4, 4, 0)), b"A" * 4
    ),
    "an array of another class": Calls(np.zeros(1).__reduce__()[0], np.matrix, (0,), b"b"),
    "a call of numpy": Calls(np.load, "x"),
    "a call of builtins": Calls(eval, "1"),
    "a getter": Calls(getattr, (), "count"),
    "a dict with a function": Calls(collections.OrderedDict, 3),
    "a long tuple": Calls(tuple, 3),
    "a codec": Calls(__import__("_codecs").encode, "a", "rot13"),
    "an object": Calls(object),
    "a set": {1},
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("protocol", [2, 4])
def test_everything_else_is_refused(value: Any, protocol: int, tmp_path: Path) -> None:
    with pytest.raises(Refused):
        loads(pickle.dumps({"w": value}, protocol=protocol))
    (tmp_path / "x.pdparams").write_bytes(pickle.dumps({"w": value}, protocol=protocol))
    with pytest.raises(WeightsError, match=r"x.pdparams cannot be read as weights") as refused:
        read_pdparams(tmp_path / "x.pdparams")
    assert "\n" not in str(refused.value)


def opcodes(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


ARRAY = pickle.dumps(np.zeros(2, np.float32), protocol=2)[2:-1]
BY_HAND = {
    "a state set twice": opcodes(ARRAY, b"(K\x01K\x02\x85cnumpy\ndtype\nX\x02\x00\x00\x00f4\x85R\x89C\x00tb"),
    "a place in the memo far away": opcodes(b"N", b"r\xff\xff\xff\xff", b"j\xfe\xff\xff\xff"),
    "a buffer of all memory": opcodes(b"\x96" + struct.pack("<Q", 1 << 40)),
    "bytes of all memory": opcodes(b"\x8e" + struct.pack("<Q", 1 << 62)),
    "a text of all memory": opcodes(b"\x8d" + struct.pack("<Q", 1 << 40)),
    "a number of all memory": opcodes(b"\x8b" + struct.pack("<i", 2**31 - 1)),
    "a number of many digits": b"I" + b"9" * 100_000 + b"\n.",
    "an extension": opcodes(b"\x82\x01"),
    "a persistent id": opcodes(b"Nq\x00Q"),
    "an instance": b"(i__main__\nx\n.",
    "an object of a class": b"(c__builtin__\ntuple\no.",
    "a new object": opcodes(b"cbuiltins\ntuple\n)\x81"),
    "a list in itself": opcodes(b"]\x94h\x00a"),
    "depth": opcodes(b"(" * 1 + b"]" + b"\x85" * 10_000),
    "a stack that runs dry": opcodes(b"\x87"),
    "a mark that is missing": opcodes(b"t"),
    "something left over": opcodes(b"NN"),
    "a key without a value": opcodes(b"}(Nu"),
    "a key that is a list": opcodes(b"}]Ns"),
    "an item of no list": opcodes(b"}Na"),
    "a name alone": opcodes(b"cnumpy\ndtype\n"),
    "a name of numbers": opcodes(b"K\x01K\x02\x93"),
    "no end": b"\x80\x04N",
    "nothing": b"",
}


@pytest.mark.parametrize("data", BY_HAND.values(), ids=BY_HAND)
def test_what_no_pickle_would_write_is_refused_too(data: bytes) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Refused):
        loads(data)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "kB of memory"


def test_what_is_made_is_bounded_by_the_file() -> None:
    """Bytes that stand once in the file and are asked for many times."""
    text = b"X" + struct.pack("<I", 1 << 20) + b"a" * (1 << 20) + b"q\x00"
    encode = b"c_codecs\nencode\nq\x01" + b"0".replace(b"0", b"")
    again = b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(Refused, match="larger than the file"):
        loads(opcodes(b"(", text, encode, again * 1000, b"t"))
    pairs = b"](" + b"X\x01\x00\x00\x00aN\x86" * 1000 + b"eq\x00"
    ordered = b"ccollections\nOrderedDict\nq\x01"
    with pytest.raises(Refused, match="larger than the file"):
        loads(opcodes(b"(", pairs, ordered, b"h\x01h\x00\x85R" * 10_000, b"t"))


def test_shared_parts_are_made_once() -> None:
    """A thousand million of the same thing, in a few bytes."""
    data = b"".join(b"q%c(" % i + b"h%c" % i * 2 + b"l" for i in range(60))
    found = loads(opcodes(b"(]", data, b"t"))[-1]
    for _ in range(60):
        assert found[0] is found[1]
        found = found[0]


class Watch:
    """Notes what Python is asked to import, open or run while it is on."""

    def __init__(self) -> None:
        self.on, self.seen = False, list[str]()
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.on and event.startswith(("import", "open", "exec", "compile", "os.", "subprocess", "pickle", "ctypes")):
            self.seen.append(f"{event} {arguments!r:.80}")


def test_ten_thousand_damaged_checkpoints_do_no_harm() -> None:
    rng = np.random.default_rng(0)
    whole = [pickle.dumps(checkpoint(), protocol=protocol) for protocol in (2, 4)]
    watch, modules = Watch(), set(sys.modules)
    memory, taken, refused = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0
    for number in range(MUTATIONS):
        data = mutated(whole[number % 2], whole[1 - number % 2], rng)
        watch.on = True
        try:
            found = loads(data)
        except Refused as error:
            refused += 1
            assert len(str(error)) < 300
        else:
            taken += 1
            assert all(a.dtype.kind in "biuf" for a in arrays_in(found))
        finally:
            watch.on = False
    assert taken > MUTATIONS // 100 and refused > MUTATIONS // 4, (taken, refused)
    assert watch.seen == [] and set(sys.modules) == modules
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000, "kB of memory"


OPCODES = b".()}]etuRb0123hjqr\x80\x81\x85\x86\x87\x88\x8a\x8c\x8d\x8e\x93\x94\x95\x96"


def mutated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A few random changes: bytes, sizes, opcodes, pieces taken out, doubled or taken from elsewhere."""
    made = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        at, length = int(rng.integers(0, len(made))), int(rng.integers(1, 24))
        match int(rng.integers(0, 7)):
            case 0:
                made[at] ^= 1 << int(rng.integers(0, 8))
            case 1:
                made[at] = int(rng.integers(0, 256))
            case 2:
                made[at] = rng.choice(
                    list(b".()}]etuRb0123hjqr\x80\x81\x85\x86\x87\x88\x8a\x8c\x8d\x8e\x93\x94\x95\x96")
                )
            case 3:
                del made[at : at + length]
            case 4:
                made[at:at] = made[at : at + length]
            case 5:
                start = int(rng.integers(0, len(other)))
                made[at:at] = other[start : start + length]
            case 6:
                made[at : at + 4] = struct.pack("<I", int(rng.choice([0, 1, 255, 1 << 16, 2**31 - 1, 2**32 - 1])))
        made = made or bytearray(b".")
    return bytes(made)


def arrays_in(value: Any) -> list[np.ndarray[Any, Any]]:
    if isinstance(value, np.ndarray):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [array for item in items for array in arrays_in(item)]
