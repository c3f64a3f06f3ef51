"""The stack of a pickle without its power: arguments are parsed by `pickletools`, which executes nothing, and a
name is called only if it is one of the caller's constructors.

https://docs.python.org/3/library/pickletools.html
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_MOST_OPCODES = 2_000_000  # each makes an object of up to a few hundred bytes
_SLACK = 1 << 16
_LONGEST_NAME = 200
_PUSHED = {
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "INT", "LONG", "BINFLOAT", "FLOAT", "BINUNICODE",
    "BINUNICODE8", "SHORT_BINUNICODE", "UNICODE", "BINBYTES", "BINBYTES8", "SHORT_BINBYTES", "BINSTRING",
    "SHORT_BINSTRING",
}  # fmt: skip
"""Opcodes whose argument is the value."""


class Refused(ValueError):
    """The file is damaged, or asks for what no weights need."""


class Mark:
    """Where the items of a list, dict or tuple begin."""


@dataclass
class Made:
    """Something whose state is still to come, and is set once."""

    kind: str
    value: Any = None


@dataclass(frozen=True)
class Name:
    """A constructor that was named and not called yet."""

    name: str


Constructor = Callable[["Machine", tuple[Any, ...]], Any]


class Machine:
    """The state of one reading: stack, memo, and how many bytes may still be made.

    Args:
        names: (module, name) -> what it stands for, of all names that the file may have.
        constructors: what is called for each, with this object and the file's arguments.
        state: makes the value of something `Made` from the state that the file sets.
    """

    def __init__(
        self,
        data: bytes,
        names: Mapping[tuple[str, str], str],
        constructors: Mapping[str, Constructor],
        state: Callable[[Machine, Made, Any], Any],
    ) -> None:
        self._names, self._constructors, self._state = names, constructors, state
        self._data = data
        self._room = 3 * len(data) + _SLACK  # a byte is made at most as text, as bytes and in an array
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self) -> Any:
        """The value that the pickle ends with. Raises Refused, and ValueError of what `pickletools` cannot parse."""
        stream = io.BytesIO(self._data)
        for _ in range(_MOST_OPCODES):
            code = stream.read(1)
            opcode = _OPCODES.get(code)
            if opcode is None:
                raise Refused(f"it has the opcode {code!r}, which no weights need" if code else "it has no end")
            if opcode.name == "STOP":
                value = self._pop()
                if self._stack:
                    raise Refused("it ends in the middle")
                return value
            if opcode.name == "GLOBAL":
                module, name = (stream.readline(_LONGEST_NAME).decode("latin-1") for _ in range(2))
                self._stack.append(self._named(module.removesuffix("\n"), name.removesuffix("\n")))
            else:
                self._step(opcode.name, opcode.arg.reader(stream) if opcode.arg is not None else None)
        raise Refused("it has too many parts")

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self._stack.append(argument)
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[len(self._memo) if argument is None else argument] = self._top()
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            if argument not in self._memo:
                raise Refused("it refers to what it does not have")
            self._stack.append(self._memo[argument])
        elif name in _SIMPLE:
            _SIMPLE[name](self)

    # --- the stack ----------------------------------------------------------------------------------------------

    def _top(self) -> Any:
        if not self._stack or isinstance(self._stack[-1], Mark):
            raise Refused("a value is missing")
        return self._stack[-1]

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _items(self) -> list[Any]:
        """What stands above the last mark, which goes too."""
        for at in range(len(self._stack) - 1, -1, -1):
            if isinstance(self._stack[at], Mark):
                items = self._stack[at + 1 :]
                del self._stack[at:]
                return items
        raise Refused("a mark is missing")

    def mark(self) -> None:
        self._stack.append(Mark())

    def push(self, make: Callable[[], Any]) -> None:
        self._stack.append(make())

    def tuple_of(self, count: int | None) -> None:
        items = self._items() if count is None else [self._pop() for _ in range(count)][::-1]
        self._stack.append(tuple(items))

    def new_list(self) -> None:
        self._stack.append(self._items())

    def new_dict(self) -> None:
        pairs, made = self._items(), dict[Any, Any]()
        self.set_pairs(made, pairs)
        self._stack.append(made)

    def append(self, several: bool) -> None:
        items = self._items() if several else [self._pop()]
        target = self._top()
        if not isinstance(target, list):
            raise Refused("something is appended to what is no list")
        target += items

    def set_items(self, several: bool) -> None:
        pairs = self._items() if several else [self._pop(), self._pop()][::-1]
        target = self._top()
        if not isinstance(target, dict):
            raise Refused("something is put into what is no dict")
        self.set_pairs(target, pairs)

    @staticmethod
    def set_pairs(target: dict[Any, Any], pairs: list[Any]) -> None:
        if len(pairs) % 2:
            raise Refused("a key has no value")
        for key, value in zip(pairs[::2], pairs[1::2], strict=True):
            if not isinstance(key, (str, int, float, bytes)):
                raise Refused("a key is neither text nor number")
            target[key] = value

    # --- what is constructed ------------------------------------------------------------------------------------

    def stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        self._stack.append(self._named(module, name))

    def _named(self, module: Any, name: Any) -> Name:
        known = self._names.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise Refused(f"it asks for {str(module)[:60]}.{str(name)[:60]}, which no weights need")
        return Name(known)

    def reduce(self) -> None:
        arguments, function = self._pop(), self._pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise Refused("something is called that cannot be")
        self._stack.append(self._constructors[function.name](self, arguments))

    def build(self) -> None:
        state, made = self._pop(), self._top()
        if not isinstance(made, Made) or made.value is not None:
            raise Refused("a state is set where none belongs")
        made.value = self._state(self, made, state)

    def taken(self, count: int) -> None:
        """Account for bytes that are made; their sum is at most the size of the file."""
        self._room -= count
        if self._room < 0:
            raise Refused("it would become larger than the file")


_SIMPLE: dict[str, Callable[[Machine], None]] = {
    "MARK": Machine.mark,
    "EMPTY_DICT": lambda reader: reader.push(dict),
    "EMPTY_LIST": lambda reader: reader.push(list),
    "EMPTY_TUPLE": lambda reader: reader.push(tuple),
    "NONE": lambda reader: reader.push(lambda: None),
    "NEWTRUE": lambda reader: reader.push(lambda: True),
    "NEWFALSE": lambda reader: reader.push(lambda: False),
    "TUPLE": lambda reader: reader.tuple_of(None),
    "TUPLE1": lambda reader: reader.tuple_of(1),
    "TUPLE2": lambda reader: reader.tuple_of(2),
    "TUPLE3": lambda reader: reader.tuple_of(3),
    "LIST": Machine.new_list,
    "DICT": Machine.new_dict,
    "APPEND": lambda reader: reader.append(False),
    "APPENDS": lambda reader: reader.append(True),
    "SETITEM": lambda reader: reader.set_items(False),
    "SETITEMS": lambda reader: reader.set_items(True),
    "STACK_GLOBAL": Machine.stack_global,
    "REDUCE": Machine.reduce,
    "BUILD": Machine.build,
}
_MEMO = {"MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"}
_TAKEN = {*_PUSHED, *_MEMO, *_SIMPLE, "GLOBAL", "PROTO", "FRAME", "STOP"}
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes if opcode.name in _TAKEN}
"""The opcodes that are read; no other is even parsed."""
