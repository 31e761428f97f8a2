"""Reads the pickle of a joblib file as data: nothing that it names is imported or called.

Unpickling can execute arbitrary code. Here the opcodes (documented in Python's ``pickletools``) are
interpreted on plain values only: numbers, text, lists, tuples, dicts, numpy arrays of numbers, and
a `Record` instead of any other object. All other opcodes are refused. The values may be nested as
deep as the file is long, so callers must not traverse, hash or compare values of unknown type.

joblib writes an array as a pickled ``NumpyArrayWrapper``, directly followed by the array's bytes
(``joblib.numpy_pickle``).
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

__all__ = ["Record", "RefusedError", "read"]

_ARRAY = "joblib.numpy_pickle.NumpyArrayWrapper"
_DTYPE = "numpy.dtype"
#: Name in numpy 2, and in numpy 1.
_SCALARS = ("numpy._core.multiarray.scalar", "numpy.core.multiarray.scalar")
_NUMPY_CLASSES = {_ARRAY, _DTYPE, "numpy.ndarray", *_SCALARS}

#: numpy's type codes of numbers; arrays of other types are refused.
_NUMBER_TYPES = {"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"}
_BYTE_ORDERS = {"<", ">", "|", "="}


class RefusedError(ValueError):
    """The pickle has unexpected content; the message is the end of a sentence."""


@dataclass(eq=False)
class Record:
    """The data of a pickled object.

    Attributes:
        kind: its class, with the module.
        state: its attributes; for a dtype, a tuple with its byte order.
        code: for a dtype, its type code.
    """

    kind: str
    state: Any = field(default_factory=dict)
    code: str = ""


@dataclass(eq=False, frozen=True)
class _Name:
    """A class or function that the pickle names."""

    text: str


def read(content: bytes, allowed: Collection[str]) -> Any:
    """Reads a pickle; bytes after its end are ignored.

    Args:
        content: content of the file.
        allowed: classes whose objects may be in it, with their modules.

    Raises:
        RefusedError: it is damaged, or has unexpected content.
    """
    try:
        return _Reader(content, allowed).value()
    except RefusedError:
        raise
    except Exception as error:  # a damaged pickle raises exceptions of many types
        raise RefusedError("it is no pickle, or a damaged one") from error


class _Reader:
    def __init__(self, content: bytes, allowed: Collection[str]) -> None:
        self._file, self._length = io.BytesIO(content), len(content)
        self._allowed = _NUMPY_CLASSES | set(allowed)
        self._stack: list[Any] = []
        self._marked: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def value(self) -> Any:
        for opcode, argument, _ in pickletools.genops(self._file):
            name = opcode.name
            if name in _CONSTANTS:
                self._stack.append(_CONSTANTS[name])
            elif name in _LITERALS:
                self._stack.append(argument)
            elif name in _OPCODES:
                _OPCODES[name](self, argument)
            elif name not in {"PROTO", "FRAME", "STOP"}:
                raise RefusedError(f"it holds what no SVM file needs ({name})")
        (value,) = self._stack
        return value

    def mark(self, _: Any) -> None:
        self._marked.append(self._stack)
        self._stack = []

    def _from_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._marked.pop()
        return items

    def empty_list(self, _: Any) -> None:
        self._stack.append([])

    def empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def tuple_of(self, count: int) -> None:
        items = self._stack[-count:]
        if len(items) != count:
            raise IndexError
        self._stack[-count:] = [tuple(items)]

    def tuple_from_mark(self, _: Any) -> None:
        items = tuple(self._from_mark())
        self._stack.append(items)

    def append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def appends(self, _: Any) -> None:
        self._extend(self._from_mark())

    def _extend(self, items: list[Any]) -> None:
        _require_type(self._stack[-1], list).extend(items)

    def set_item(self, _: Any) -> None:
        self._update([self._stack.pop() for _ in range(2)][::-1])

    def set_items(self, _: Any) -> None:
        self._update(self._from_mark())

    def _update(self, items: list[Any]) -> None:
        target = _require_type(self._stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_require_type(key, str)] = value  # hashing other keys could crash the process

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def put(self, index: int) -> None:
        self._memo[index] = self._stack[-1]

    def get(self, index: int) -> None:
        self._stack.append(self._memo[index])

    def stack_global(self, _: Any) -> None:
        name, module = (_require_type(self._stack.pop(), str) for _ in range(2))
        self._name(f"{module}.{name}")

    def inline_global(self, names: str) -> None:
        self._name(names.replace(" ", ".", 1))

    def _name(self, text: str) -> None:
        if text not in self._allowed:
            raise RefusedError(f"it wants to load {text}")
        self._stack.append(_Name(text))

    def new_object(self, _: Any) -> None:
        arguments, kind = self._stack.pop(), _require_type(self._stack.pop(), _Name).text
        if kind in {_DTYPE, *_SCALARS} or len(_require_type(arguments, tuple)):
            _refuse_array()
        self._stack.append(Record(kind))

    def reduce(self, _: Any) -> None:
        arguments, kind = self._stack.pop(), _require_type(self._stack.pop(), _Name).text
        argument, data, *_ = _require_type(arguments, tuple)
        if kind == _DTYPE:
            if _require_type(argument, str) not in _NUMBER_TYPES:
                raise RefusedError(f"it holds an array of {argument}")
            self._stack.append(Record(kind, code=argument))
        elif kind in _SCALARS:
            self._stack.append(
                np.frombuffer(_require_type(data, bytes), _dtype(argument), count=1)[0]
            )
        else:
            raise RefusedError(f"it wants to call {kind}")

    def build(self, _: Any) -> None:
        state, target = self._stack.pop(), _require_type(self._stack[-1], Record)
        target.state = _require_type(state, tuple if target.kind == _DTYPE else dict)
        if target.kind == _ARRAY:
            self._stack[-1] = self._array(target.state)

    def _array(self, state: dict[str, Any]) -> Any:
        """Reads the array whose bytes follow in the file."""
        if state["order"] not in ("C", "F") or type(state["shape"]) is not tuple:
            _refuse_array()
        shape, dtype = state["shape"], _dtype(state["dtype"])
        if not all(type(length) is int and 0 <= length <= self._length for length in shape):
            _refuse_array()
        if state.get("numpy_array_alignment_bytes") is not None:
            self._file.read(self._file.read(1)[0])
        count = math.prod(shape)
        if count * dtype.itemsize > self._length - self._file.tell():
            _refuse_array()
        array = np.frombuffer(self._file.read(count * dtype.itemsize), dtype, count)
        return array.reshape(shape, order=state["order"]).astype(dtype.newbyteorder("="))


def _dtype(record: Any) -> np.dtype[Any]:
    if not (type(record) is Record and record.kind == _DTYPE):
        _refuse_array()
    order = record.state[1] if record.state else "="
    if type(order) is not str or order not in _BYTE_ORDERS:
        _refuse_array()
    return np.dtype(f"{'=' if order == '|' else order}{record.code}")


def _refuse_array() -> NoReturn:
    raise RefusedError("it holds an array that is not plain")


def _require_type(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise RefusedError("it is no pickle that joblib wrote")
    return value


_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"),
    *("SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES", "BINBYTES"),
}
_OPCODES: dict[str, Callable[[_Reader, Any], None]] = {
    "MARK": _Reader.mark,
    "EMPTY_LIST": _Reader.empty_list,
    "EMPTY_DICT": _Reader.empty_dict,
    "TUPLE": _Reader.tuple_from_mark,
    "TUPLE1": lambda reader, _: reader.tuple_of(1),
    "TUPLE2": lambda reader, _: reader.tuple_of(2),
    "TUPLE3": lambda reader, _: reader.tuple_of(3),
    "APPEND": _Reader.append,
    "APPENDS": _Reader.appends,
    "SETITEM": _Reader.set_item,
    "SETITEMS": _Reader.set_items,
    "MEMOIZE": _Reader.memoize,
    "BINPUT": _Reader.put,
    "LONG_BINPUT": _Reader.put,
    "BINGET": _Reader.get,
    "LONG_BINGET": _Reader.get,
    "GLOBAL": _Reader.inline_global,
    "STACK_GLOBAL": _Reader.stack_global,
    "NEWOBJ": _Reader.new_object,
    "REDUCE": _Reader.reduce,
    "BUILD": _Reader.build,
}
