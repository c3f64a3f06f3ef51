"""Arrays in a pickle, read without pickle.

`pickle` calls what a file names, with arguments of the file's choice; numpy's own constructors, which a checkpoint
has to name, crash on a state that does not fit. Here nothing is called but this module's constructors of tuples,
ordered dicts and arrays of plain numbers. What is made takes no more bytes than a small multiple of the file.

https://numpy.org/doc/stable/reference/generated/numpy.ndarray.__reduce__.html
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import numpy.typing as npt

from stages.outside.names import shown
from stages.outside.pickle_stack import Constructor, Machine, Made, Mark, Name, Refused

_PLAIN = re.compile(r"\??|b1|[iu][1248]|f[248]")
"""Types of elements: truth values, whole and floating numbers; not objects, records, texts or dates."""
_MOST_DIMENSIONS, _LONGEST_SIDE = 32, 1 << 40
_DEEPEST = 64
_ARRAY = "array"
_BUSY = object()


def loads(data: bytes) -> Any:
    """What a pickle holds: dicts, lists, tuples, texts, numbers and arrays of numbers.

    Raises:
        Refused: it is damaged, or asks for something else.
    """
    try:
        return _finished(Machine(data, _NAMES, _CONSTRUCTORS, _state).read(), 0, {})
    except Refused:
        raise
    except (ValueError, OverflowError, MemoryError) as error:
        raise Refused(shown(str(error) or type(error).__name__)) from error


def _finished(value: Any, depth: int, done: dict[int, Any]) -> Any:
    """The value with arrays in the place of what they were made of. What stands in several places is made once."""
    if isinstance(value, Made):
        if value.value is None:
            raise Refused("an array has no content")
        return value.value
    if isinstance(value, (Name, Mark)):
        raise Refused("something stands where a value belongs")
    if not isinstance(value, (dict, list, tuple)):
        return value
    if id(value) in done:
        if done[id(value)] is _BUSY:
            raise Refused("something is a part of itself")
        return done[id(value)]
    if depth > _DEEPEST:
        raise Refused("it is nested too deeply")
    done[id(value)] = _BUSY
    made: Any
    if isinstance(value, dict):
        made = {key: _finished(item, depth + 1, done) for key, item in value.items()}
    else:
        made = type(value)(_finished(item, depth + 1, done) for item in value)
    done[id(value)] = made
    return made


def _state(machine: Machine, made: Made, state: Any) -> Any:
    return _array(machine, state) if made.kind == _ARRAY else _dtype(made.kind, state)


def _array(machine: Machine, state: Any) -> npt.NDArray[Any]:
    """The array of numpy's state (version, shape, element type, whether by columns, bytes)."""
    if not isinstance(state, tuple) or len(state) != 5:
        raise Refused("the state of an array does not fit")
    _, shape, made, by_columns, data = state
    if not isinstance(made, Made) or not isinstance(made.value, np.dtype):
        raise Refused("an array has no type of elements")
    if not isinstance(shape, tuple) or len(shape) > _MOST_DIMENSIONS:
        raise Refused("the shape of an array does not fit")
    if not all(type(side) is int and 0 <= side < _LONGEST_SIDE for side in shape):
        raise Refused("the shape of an array does not fit")
    dtype: np.dtype[Any] = made.value
    data = _encoded(machine, (data, "latin-1")) if isinstance(data, str) else data  # as Python 2 wrote it
    if not isinstance(data, bytes) or len(data) != math.prod(shape) * dtype.itemsize:
        raise Refused("the bytes of an array are more or less than its shape says")
    machine.taken(len(data))
    if not data:
        return np.zeros(shape, dtype)
    flat = np.frombuffer(data, dtype)
    return flat.reshape(shape, order="F").copy(order="F") if by_columns else flat.reshape(shape).copy()


def _scalar(machine: Machine, arguments: tuple[Any, ...]) -> Any:
    """A number of numpy's, of its type and bytes."""
    if len(arguments) != 2 or not isinstance(arguments[0], Made) or not isinstance(arguments[0].value, np.dtype):
        raise Refused("a number does not fit its type")
    dtype, data = arguments[0].value, arguments[1]
    data = _encoded(machine, (data, "latin-1")) if isinstance(data, str) else data
    if not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise Refused("a number does not fit its type")
    return np.frombuffer(data, dtype)[0]


def _encoded(machine: Machine, arguments: tuple[Any, ...]) -> bytes:
    """Bytes that protocol 2 writes as text."""
    if len(arguments) != 2 or not isinstance(arguments[0], str) or arguments[1] not in ("latin1", "latin-1"):
        raise Refused("bytes are written in an unknown way")
    machine.taken(len(arguments[0]))
    return arguments[0].encode("latin-1")


def _ordered(machine: Machine, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    if len(arguments) > 1 or (arguments and not isinstance(arguments[0], (list, tuple))):
        raise Refused("a dict is made of what it cannot be")
    pairs = arguments[0] if arguments else ()
    machine.taken(len(pairs))
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise Refused("a dict is made of what it cannot be")
        machine.set_pairs(made, list(pair))
    return made


def _new_array(machine: Machine, arguments: tuple[Any, ...]) -> Made:
    """numpy makes an empty array first, and sets its state afterwards; the arguments say nothing more."""
    if not arguments or arguments[0] != Name("ndarray"):
        raise Refused("an array of an unknown kind")
    return Made(_ARRAY)


def _new_dtype(machine: Machine, arguments: tuple[Any, ...]) -> Made:
    text = arguments[0] if arguments else None
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    if not isinstance(text, str) or not text or not _PLAIN.fullmatch(text):
        raise Refused(f"elements of the type {str(text)[:40]!r}, which no weights have")
    return Made(text)


def _dtype(text: str, state: Any) -> np.dtype[Any]:
    """The type of elements with its byte order; fields, subarrays and metadata there are none."""
    if not isinstance(state, tuple) or not 5 <= len(state) <= 9 or state[1] not in ("<", ">", "|", "=", b"<", b"|"):
        raise Refused("the state of a type of elements does not fit")
    if any(part is not None for part in state[2:5]) or any(isinstance(part, (tuple, dict)) for part in state[5:]):
        raise Refused("elements with parts, which no weights have")
    order: Any = state[1].decode() if isinstance(state[1], bytes) else state[1]
    return np.dtype(text).newbyteorder(order)


def _tuple(machine: Machine, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """What Paddle writes its tensors as: ``tuple((name, array))``."""
    if len(arguments) != 1 or not isinstance(arguments[0], (tuple, list)):
        raise Refused("a tuple is made of what it cannot be")
    machine.taken(len(arguments[0]))
    return tuple(arguments[0])


def _no_bytes(machine: Machine, arguments: tuple[Any, ...]) -> bytes:
    """What protocol 2 calls for bytes of which there are none."""
    if arguments:
        raise Refused("bytes are made of what they cannot be")
    return b""


def _never(machine: Machine, arguments: tuple[Any, ...]) -> Any:
    raise Refused("something is called that cannot be")


_CONSTRUCTORS: dict[str, Constructor] = {
    "ordered": _ordered,
    "tuple": _tuple,
    "encode": _encoded,
    "reconstruct": _new_array,
    "dtype": _new_dtype,
    "scalar": _scalar,
    "bytes": _no_bytes,
    "ndarray": _never,
}
_NAMES = {
    ("collections", "OrderedDict"): "ordered",
    **{(module, name): name for module in ("builtins", "__builtin__") for name in ("tuple", "bytes")},
    ("_codecs", "encode"): "encode",
    ("numpy", "ndarray"): "ndarray",
    ("numpy", "dtype"): "dtype",
    **{(f"numpy.{core}.multiarray", "_reconstruct"): "reconstruct" for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): "scalar" for core in ("core", "_core")},
}
